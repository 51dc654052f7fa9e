"""Bad bundles, each refused by the import as by the verifier, and nothing of it visible then."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.errors import BundleInvalid, BundleRefused
from registry.bundles.format import CONTENTS
from registry.bundles.keys import new_key, write_key
from registry.bundles.verify_bundle import REFUSED, Verifier, folders, verify_folders, verify_tar
from registry.work.operations import Status, status_of
from tests.api.server import moorage
from tests.bundles.bad import BAD, Bad, Keys, sound
from tests.bundles.handmade import write_folder
from tests.bundles.sides import Side


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Made for this run."""
    return Keys(new_key("ecdsa-p256"), new_key("ed25519"), new_key("ecdsa-p256"))


def far(folder: Path, keys: Keys, **settings: Any) -> Side:
    """A far side that trusts two keys."""
    trusted = [str(write_key(one, folder)[1]) for one in (keys.trusted, keys.second)]
    return Side({"import": {"trusted_keys": trusted, **settings}})


async def test_the_sound_one_is_taken(keys: Keys, tmp_path: Path) -> None:
    side = far(tmp_path, keys, required_signatures=2)
    judged = await side.take_in(write_folder(sound(keys), tmp_path / "bundle"))
    assert judged.is_staged and await side.tags()


@pytest.mark.parametrize(
    "bad",
    [one for one in BAD.values() if not one.is_convenience],
    ids=[name for name, one in BAD.items() if not one.is_convenience],
)
async def test_is_refused(bad: Bad, keys: Keys, tmp_path: Path) -> None:
    side = far(tmp_path, keys, required_signatures=bad.required)
    path = bad.write(tmp_path / "given", keys)
    verifier = Verifier()
    if path.is_dir():
        verify_folders(verifier, folders([str(path)]))
    else:
        verify_tar(verifier, io.BytesIO(path.read_bytes()))
    try:
        judged = await side.take_in(path)
    except (BundleRefused, BundleInvalid) as error:
        refused = error
    else:
        # What a medium lacks may still be given.
        assert judged.media and not judged.is_staged, bad.file
        return
    # Signatures are judged first, so what was altered behind one is refused by that.
    assert bad.verdict != REFUSED or isinstance(refused, BundleRefused)
    assert (status_of(refused) is Status.DAMAGED) == isinstance(refused, BundleInvalid)
    assert refused.message.isprintable()
    named = refused.message.split(": ")[0].partition(", line")[0]
    told = {one["file"] for one in verifier.problems}
    assert isinstance(refused, BundleRefused) or any(_whole(named) in one for one in told), (told, refused)
    assert await side.tags() == {}
    assert not [key async for key in side.world.driver.walk("docker/registry/v2/repositories")]


async def test_what_lies_in_another_medium_is_taken_and_the_verifier_says_where_it_belongs(
    keys: Keys, tmp_path: Path
) -> None:
    path = BAD["a piece in another medium, in media"].write(tmp_path / "given", keys)
    verifier = Verifier()
    verify_folders(verifier, folders([str(path)]))
    assert any(one["remedy"].startswith("move it to ") for one in verifier.problems)
    side = far(tmp_path, keys)
    assert (await side.take_in(path)).is_staged and await side.tags()


@pytest.mark.e2e
def test_the_exit_code_is_the_same_whoever_reads_it(keys: Keys, tmp_path: Path) -> None:
    bundle = write_folder(sound(keys), tmp_path / "bundle")
    (bundle / CONTENTS).write_bytes((bundle / CONTENTS).read_bytes()[:-1])
    (tmp_path / "store/docker/registry/v2").mkdir(parents=True)
    # Whose signatures are asked for is judged before the files are.
    for key, verb, code in (
        (keys.trusted, "verify", 4),
        (keys.trusted, "import", 4),
        (keys.stranger, "import", 3),
    ):
        settings = {"import": {"trusted_keys": [str(write_key(key, tmp_path / f"{verb}-{code}")[1])]}}
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"storage": {"root": "store"}, "bundles": settings}))
        moorage("bundle", verb, str(bundle), "--config", str(config), code=code)


def _whole(name: str) -> str:
    """A file without which piece it is, or that it was renamed: of what is joined, any may be the bad one."""
    return re.sub(r"\.([0-9]{3}|old)$", "", name)
