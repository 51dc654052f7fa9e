"""The verifier, which reads what nobody has looked at: in bounded time, and as strict as the import."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.errors import BundleInvalid
from registry.bundles.verify_bundle import DAMAGED, SOUND, Verifier, parse, verify_tar
from registry.bundles.verify_bundle import Content as Stated
from tests.bundles.handmade import Selection, files_of, members, tar, write_folder
from tests.bundles.sides import Gap


def test_a_text_without_an_end_takes_no_time_to_look_at() -> None:
    content = b'{"a":"' + b'\\"' * 200_000 + b'\\\n"}'
    begun = time.process_time()
    with pytest.raises(Exception, match="no JSON"):
        parse(content, "a manifest", is_ours=False)
    # A minute for a tenth of it where each quote has all behind it looked at.
    assert time.process_time() - begun < 5


def test_a_blob_in_very_many_pieces_takes_no_time_to_find() -> None:
    key, count = bytes(32), 20_000
    content = Stated(0, count, ("a",), "", False, ((1, 1),) * count)
    verifier = Verifier()
    verifier.statement.blobs[key] = content
    begun = time.process_time()
    found = [verifier.find(name) for name in content.names(key)]
    # Minutes where each has all names made.
    assert time.process_time() - begun < 5
    assert found == [(key, content, number) for number in range(count)]
    assert verifier.find(f"{content.name(key, 0)}0") is None


GARBLED: dict[str, Any] = {
    "annotations": {"a": 1},
    "artifactType": "none",
    "config.mediaType": "none",
    "config.annotations": [],
    "config.artifactType": 5,
    "config.urls": ["a", 5],
    "config.data": "!!!!",
    "config.data of another size": base64.b64encode(b"more").decode(),
    "config.platform": "linux",
    "config.platform of numbers": {"os": 5},
    "config.platform of a list": {"os.features": "a"},
    "config.platform in capitals": {"OS": "linux"},
}


@pytest.mark.parametrize("name", GARBLED)
async def test_what_no_registry_takes_the_verifier_refuses(tmp_path: Path, name: str) -> None:
    gap, made = Gap(tmp_path), Selection()
    config = made.blob(b"{}", "team/app", media_type="application/vnd.oci.image.config.v1+json")
    fields: dict[str, Any] = {"config": config, "layers": []}
    path = name.partition(" ")[0].split(".")
    (config if len(path) > 1 else fields)[path[-1]] = GARBLED[name]
    made.tag("team/app", "1", made.manifest(fields, "team/app"))
    made.statement.order()
    files = files_of(made, gap.key)
    verifier = Verifier()
    verify_tar(verifier, io.BytesIO(tar(members(files))))
    assert verifier.exit == DAMAGED
    with pytest.raises(BundleInvalid):
        await gap.far.take_in(write_folder(files, tmp_path / "bundle"))


async def test_what_a_manifest_may_say_besides_is_sound(tmp_path: Path) -> None:
    gap, made = Gap(tmp_path), Selection()
    config = made.blob(b"{}", "team/app", media_type="application/vnd.oci.empty.v1+json")
    config |= {"data": "e30=", "urls": ["https://a"], "annotations": {"a": "b"}, "artifactType": ""}
    config |= {"platform": {"os": "linux", "variant": None, "os.features": None, "more": 1}}
    fields = {"config": config, "artifactType": "a/b", "annotations": None, "subject": None}
    made.tag("team/app", "1", made.manifest(fields, "team/app"))
    made.statement.order()
    files = files_of(made, gap.key)
    verifier = Verifier()
    verify_tar(verifier, io.BytesIO(tar(members(files))))
    assert verifier.exit == SOUND
    assert (await gap.far.take_in(write_folder(files, tmp_path / "bundle"))).is_staged
