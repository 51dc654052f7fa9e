"""Hostile media: signatures, links, pipes and folders that are not what they seem."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.bundles import arriving, exporting
from registry.bundles.errors import BundleInvalid, BundleRefused
from registry.bundles.folders import Inbox
from registry.bundles.format import HEAD
from registry.bundles.given import require_writable, write_file
from registry.bundles.import_operations import Import
from registry.bundles.import_operations import operations as import_operations
from registry.bundles.key_operations import Sign
from registry.bundles.key_operations import operations as key_operations
from registry.bundles.keys import SigningKey, new_key, write_key
from registry.bundles.names import Names
from registry.bundles.verify_bundle import UNCHECKED, Verifier, folders, verify_folders
from registry.errors import RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Context
from tests.bundles.handmade import Selection, files_of, images, members, tar, write_folder
from tests.bundles.sides import Gap, done
from tests.inmemory import image

SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them."""
    return Gap(tmp_path, {"approvals": 1})


# Signatures.


def _first_signature(gap: Gap) -> str:
    return f"{HEAD}.{gap.key.public.id}.sig"


async def test_a_signature_that_is_wrong_on_one_medium_is_not_covered_by_another(gap: Gap) -> None:
    made = files_of(images(), gap.key, piece_bytes=30_000)
    made[f"medium-001/{_first_signature(gap)}"] = b"wrong"
    with pytest.raises(BundleInvalid, match=r"it is not as before"):
        await gap.far.take_in(write_folder(made, gap.folder / "media"))


async def test_a_signature_twice_in_a_tar_is_refused(gap: Gap) -> None:
    listed = members(files_of(images(), gap.key))
    at = [info.name for info, _ in listed].index(_first_signature(gap))
    info = tarfile.TarInfo(_first_signature(gap))
    info.size = 5
    listed.insert(at, (info, b"wrong"))
    (gap.folder / "bundle.tar").write_bytes(tar(listed))
    with pytest.raises(BundleInvalid, match="it comes twice"):
        await gap.far.take_in(gap.folder / "bundle.tar")


async def test_what_hides_behind_a_file_of_a_tar_is_refused(gap: Gap) -> None:
    listed = members(files_of(images(), gap.key))
    content = bytearray(tar(listed))
    assert listed[0][0].size % 512 < 511
    content[512 + -(-listed[0][0].size // 512) * 512 - 1] = 1
    (gap.folder / "bundle.tar").write_bytes(content)
    with pytest.raises(BundleInvalid, match="something hides behind"):
        await gap.far.take_in(gap.folder / "bundle.tar")


def _attested(key: SigningKey, digest: str, kind: str) -> bytes:
    """A Sigstore bundle in which a key says something of an image."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {"sha256": digest.partition(":")[2]}}],
        "predicateType": kind,
        "predicate": {"verificationResult": "FAILED"},
    }
    payload, written = json.dumps(statement).encode(), "application/vnd.in-toto+json"
    signature = key.sign(f"DSSEv1 {len(written)} {written} {len(payload)} ".encode() + payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": written,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps({"mediaType": SIGSTORE, "dsseEnvelope": envelope}).encode()


async def test_what_a_key_says_against_an_image_does_not_sign_it(tmp_path: Path) -> None:
    key = new_key("ecdsa-p256")
    gap = Gap(tmp_path, {"image_keys": [str(write_key(key, tmp_path / "images")[1])]})

    def bundle(name: str, kind: str) -> Path:
        made = Selection()
        app = made.image("app", "team/app")
        layer = made.blob(_attested(key, app["digest"], kind), "team/app", media_type=SIGSTORE)
        made.image("what is said", "team/app", layers=[layer], subject=app)
        made.tag("team/app", "v1", app)
        made.statement.order()
        return write_folder(files_of(made, gap.key), tmp_path / name)

    with pytest.raises(BundleRefused, match="no signature by a key"):
        await gap.far.take_in(bundle("against", "https://slsa.dev/verification_summary/v1"))
    assert (await gap.far.take_in(bundle("for", "https://sigstore.dev/cosign/sign/v1"))).is_staged


async def test_a_signature_without_an_end_is_not_read(gap: Gap) -> None:
    path = write_folder(files_of(images()), gap.folder / "bundle")
    asked = Sign((str(path),), attach=Path("/dev/zero"), public_key=next(gap.folder.glob("*.pub")))
    with pytest.raises(RequestInvalid, match="/dev/zero is larger than"):
        await done(key_operations(gap.near.bundles.settings), "bundle.sign", asked)


# Links and pipes where a disk has its own.


async def test_a_link_in_the_folder_for_receipts_is_not_followed(tmp_path: Path) -> None:
    drop, victim = tmp_path / "drop", tmp_path / "victim"
    receipts = drop / "receipts"
    gap = Gap(tmp_path, {"dir": str(drop), "receipts_dir": str(receipts)})
    receipts.mkdir(parents=True)
    victim.write_text("precious")
    (drop / "evil.tar").write_bytes(b"no tar")
    (receipts / ".evil.tar.refused.txt.partial").symlink_to(victim)
    await Inbox(gap.far.bundles, who="one").if_due()
    assert victim.read_text() == "precious"
    assert "the tar" in (receipts / "evil.tar.refused.txt").read_text()


def test_a_link_in_the_place_of_a_receipt_is_not_followed(tmp_path: Path) -> None:
    victim, receipt = tmp_path / "victim", tmp_path / "receipt.txt"
    victim.write_text("precious")
    receipt.symlink_to(victim)
    for write in (require_writable, lambda file: write_file(file, "text")):
        with pytest.raises(RequestInvalid, match="it is a link to another file"):
            write(receipt)
    assert victim.read_text() == "precious"
    receipt.unlink()
    receipt.symlink_to(tmp_path / "not there yet")
    with pytest.raises(RequestInvalid, match="it is a link to another file"):
        write_file(receipt, "text")
    assert not (tmp_path / "not there yet").exists()
    write_file(Path("/dev/stdout"), "")


async def test_a_pipe_in_the_folder_for_bundles_is_not_waited_for(tmp_path: Path) -> None:
    gap = Gap(tmp_path, {"dir": str(tmp_path / "drop")})
    (tmp_path / "drop").mkdir()
    os.mkfifo(tmp_path / "drop/bundle.tar")
    # With somebody at its other end, so that this ends where it is opened.
    other = os.open(tmp_path / "drop/bundle.tar", os.O_RDWR | os.O_NONBLOCK)
    os.write(other, b"no tar" * 100)
    try:
        with pytest.raises(RequestInvalid, match="neither a folder nor a file"):
            asked = Import(("bundle.tar",))
            await done(
                import_operations(lambda: gap.far.bundles), "bundle.import", asked, Context("a", via="api")
            )
    finally:
        os.close(other)


async def test_a_folder_that_is_called_like_no_medium_is_none(gap: Gap) -> None:
    made = files_of(images(), gap.key, piece_bytes=30_000)
    strange = {name.replace("medium-002", "medium-x"): data for name, data in made.items()}
    judged = await gap.far.take_in(path := write_folder(strange, gap.folder / "media"))
    verifier = Verifier()
    verify_folders(verifier, folders([str(path)]))
    assert judged.media == [2] and verifier.exit == UNCHECKED and verifier.not_given == ["medium-002"]


async def test_what_takes_long_does_not_hold_up_the_server(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement may have a hundred thousand images, and a slow disk so many files."""
    is_aside = False
    seen: list[str] = []

    async def aside(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        nonlocal is_aside
        is_aside = True
        try:
            return function(*args, **kwargs)
        finally:
            is_aside = False

    def watch(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            assert is_aside, name
            seen.append(name)
            return inner(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for side in (gap.near, gap.far):
        object.__setattr__(side.world.store.effects, "aside", aside)
    for owner, name in (
        (arriving, "index_json"),
        (arriving, "files"),
        (Names, "all"),
        (exporting, "carried_of"),
        (exporting, "index_json"),
    ):
        watch(owner, name)
    await gap.near.world.push(image("one"), Tag("v1"), RepositoryName("team/app"))
    assert (await gap.carry()).is_staged
    assert set(seen) == {"index_json", "files", "all", "carried_of"}
