"""The page that specifies the format is right: its example is a bundle, and what it says to type works."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from registry.bundles import verify_bundle
from registry.bundles.format import (
    CONTENTS,
    FORMAT,
    HEAD,
    HEAD_BYTES,
    INDEX,
    LAYOUT,
    MOST_MEDIA,
    SUMS,
    Head,
    Totals,
)
from registry.bundles.keys import new_key
from registry.bundles.signatures import SIGNATURE_BYTES
from registry.bundles.statement import LINE_BYTES, MANIFEST_BYTES
from registry.model import media_types
from tests.architecture.pages import Page, page
from tests.bundles.handmade import Files, Selection, files_of, images, write_folder

PIECE_BYTES = 20_000


@pytest.fixture(scope="module")
def specification() -> Page:
    """The page."""
    return page("docs/bundle-format.md")


@pytest.fixture(scope="module")
def example() -> Files:
    """The bundle that the page shows."""
    selection = Selection()
    layer = selection.blob(b"layer", "team/app")
    selection.tag("team/app", "1.0", selection.image("image", "team/app", layers=[layer]))
    selection.statement.order()
    return files_of(selection)


def script(specification: Page, word: str, folder: Path) -> str:
    """What the block of commands prints in which a word stands; it must end well."""
    [block] = [one for one in specification.blocks("sh") if word in one]
    done = subprocess.run(["bash", "-ec", block], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [HEAD, CONTENTS, INDEX, SUMS])
def test_the_example_is_a_bundle(specification: Page, example: Files, name: str) -> None:
    assert example[name].decode() in specification.text


def test_the_limits_are_those_of_the_programs(specification: Page) -> None:
    ours = (HEAD_BYTES, LINE_BYTES, MANIFEST_BYTES, SIGNATURE_BYTES)
    theirs = (
        verify_bundle.HEAD_BYTES,
        verify_bundle.LINE_BYTES,
        verify_bundle.MANIFEST_BYTES,
        verify_bundle.SIGNATURE_BYTES,
    )
    assert ours == theirs == (1 << 20, 4 << 20, 32 << 20, 64 << 10)
    assert f"| media | {MOST_MEDIA} |" in specification.text
    assert FORMAT in specification.text.partition("\n")[0]
    assert set(specification.blocks("text")[0].split()) == media_types.MANIFESTS
    assert verify_bundle.INDEXES | verify_bundle.IMAGES | verify_bundle.ARTIFACTS == media_types.MANIFESTS
    for one in verify_bundle.ELSEWHERE:
        assert media_types.is_nondistributable(one)


def test_every_field_of_the_head_is_explained(specification: Page) -> None:
    section = specification.text.partition("## `bundle.json`")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))))
    head = Head.__dataclass_fields__
    assert explained == {*head, *Totals.__dataclass_fields__}


def test_the_id_can_be_computed_by_hand(specification: Page, example: Files, tmp_path: Path) -> None:
    write_folder(example, tmp_path)
    told = script(specification, "cut -c1-20", tmp_path).strip()
    assert f"b-{told}" == Head.decode(example[HEAD]).id


def test_a_key_can_be_named_by_hand(specification: Page, tmp_path: Path) -> None:
    key = new_key("ecdsa-p256")
    (tmp_path / "release.pub").write_bytes(key.public.pem)
    assert script(specification, "cut -c1-16", tmp_path).strip() == key.public.id


def test_pieces_can_be_joined_by_hand(specification: Page, tmp_path: Path) -> None:
    media = write_folder(files_of(images(), piece_bytes=PIECE_BYTES), tmp_path / "media")
    for one in media.iterdir():
        shutil.copytree(one, tmp_path / "joined", dirs_exist_ok=True)
    script(specification, "sort -V", tmp_path / "joined")
    joined = list((tmp_path / "joined" / "blobs" / "sha256").iterdir())
    assert (tmp_path / "joined" / LAYOUT).exists()
    assert len(joined) == len([one for one in images().content if len(one) == 32])
    assert all(hashlib.sha256(one.read_bytes()).hexdigest() == one.name for one in joined)
