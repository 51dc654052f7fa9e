"""The verifier as it is used: one file, run by an interpreter that sees nothing of ours."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles import verify_bundle
from registry.bundles.format import CONTENTS, HEAD, canonical
from registry.bundles.keys import SigningKey, new_key
from registry.bundles.media import file_name
from registry.bundles.statement import key_of
from registry.bundles.verify_bundle import DAMAGED, REFUSED, SOUND, UNCHECKED, USAGE, Verifier, verify_tar
from registry.model import media_types
from registry.model.digests import Digest
from tests.bundles.bad import BAD, LARGE, MANIFEST, PIECE_BYTES, Bad, Keys, sound
from tests.bundles.handmade import (
    Selection,
    files_of,
    images,
    members,
    resealed,
    summed,
    tar,
    write_folder,
)

PROGRAM = Path(verify_bundle.__file__)


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Two keys that are trusted, one of each kind, and one that is not."""
    return Keys(new_key("ecdsa-p256"), new_key("ed25519"), new_key("ecdsa-p256"))


def verify(
    folder: Path,
    *arguments: object,
    keys: tuple[SigningKey, ...] = (),
    given: bytes | None = None,
    path: str = "",
) -> tuple[int, str]:
    """Run it; its exit code and what it said."""
    words: list[str] = []
    for key in keys:
        file = folder / f"{key.public.id}.pem"
        file.write_bytes(key.public.pem)
        words += ["--key", str(file)]
    done = subprocess.run(
        [sys.executable, "-IS", "-W", "error", str(PROGRAM), *words, *map(str, arguments)],
        cwd=folder,
        input=given,
        env={"PATH": path or os.environ["PATH"]},
        capture_output=True,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def document(folder: Path, *arguments: object, keys: tuple[SigningKey, ...] = ()) -> dict[str, Any]:
    """What it says as JSON."""
    code, said = verify(folder, "--json", *arguments, keys=keys)
    told: dict[str, Any] = json.loads(said)
    assert told["exit"] == code
    return told


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_refuses_what_is_bad_and_names_the_file(
    bad: Bad, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad.write(tmp_path / "given", keys)
    words = ["--json", f"--required={bad.required}", str(path)]
    for key in (keys.trusted, keys.second):
        file = tmp_path / key.public.id
        file.write_bytes(key.public.pem)
        words.append(f"--key={file}")
    # Without a process of its own, which takes longer than all that it does.
    assert verify_bundle.main(words) == bad.verdict
    told = json.loads(capsys.readouterr().out)
    assert told["exit"] == bad.verdict, told
    named = [*(one["file"] for one in told["problems"]), *told["not_given"]]
    assert any(bad.is_named(keys, one) for one in named), told
    assert all(one["remedy"] and one["problem"] for one in told["problems"])


class TestSound:
    def test_a_folder(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(sound(keys), tmp_path / "bundle")
        told = document(tmp_path, "--required", 2, path, keys=(keys.trusted, keys.second))
        assert told["problems"] == []
        assert told["exit"] == SOUND
        assert set(told["signatures"]["keys"]) == {keys.trusted.public.id, keys.second.public.id}

    def test_a_tar_and_standard_input(self, keys: Keys, tmp_path: Path) -> None:
        content = tar(members(sound(keys)))
        (tmp_path / "bundle.tar").write_bytes(content)
        for path in ("bundle.tar", "-"):
            code, said = verify(tmp_path, path, keys=(keys.trusted,), given=content)
            assert (code, "sound" in said) == (SOUND, True), said

    def test_media_above_or_each_or_anywhere(self, keys: Keys, tmp_path: Path) -> None:
        above = write_folder(sound(keys, PIECE_BYTES), tmp_path / "media")
        assert verify(tmp_path, above, keys=(keys.trusted,))[0] == SOUND
        each = sorted(above.iterdir(), reverse=True)
        assert len(each) > 2
        assert verify(tmp_path, *each)[0] == SOUND
        for number, one in enumerate(each):
            shutil.copytree(one, tmp_path / f"disk{number}")
        assert verify(tmp_path, *tmp_path.glob("disk*"))[0] == SOUND

    def test_media_one_by_one(self, keys: Keys, tmp_path: Path) -> None:
        media = sorted(write_folder(sound(keys, PIECE_BYTES), tmp_path / "media").iterdir())
        names = [one.name for one in media]
        for number, one in enumerate(media):
            for path in (one, shutil.copytree(one, tmp_path / f"disc{number}")):
                told = document(tmp_path, "--required", 2, path, keys=(keys.trusted, keys.second))
                assert told["exit"] == UNCHECKED and told["problems"] == []
                # A folder of another name tells which it is only by what the first one states.
                others = [name for name in names if name != one.name]
                assert told["not_given"] == (others if path == one or number == 0 else names)
        assert "what was given is sound, and not all was given" in verify(tmp_path, media[0])[1]
        assert document(tmp_path, *media[:-1])["not_given"] == names[-1:]
        # Whoever signed is known from each, and so is what is not as it was written.
        assert document(tmp_path, media[1], keys=(keys.stranger,))["exit"] == REFUSED
        for medium in media[1:]:
            for file in sorted((medium / "blobs").rglob("*")):
                if file.is_file():
                    spoil(file)
                    told = document(tmp_path, medium)
                    assert told["exit"] == DAMAGED and told["problems"]
                    spoil(file)
        (media[1] / "more").touch()
        assert document(tmp_path, media[1])["exit"] == DAMAGED

    def test_what_is_believed_there_is_counted_and_not_looked_for(self, tmp_path: Path) -> None:
        selection = images()
        absent = [key_of(Digest.parse(f"sha512:{LARGE.rpartition('/')[2]}"))]
        made = files_of(selection, without=absent, parent="b-00000000000000000000")
        path = write_folder(made, tmp_path / "bundle")
        told = document(tmp_path, path)
        assert told["exit"] == SOUND
        assert told["believed_there"] == {"files": 1, "bytes": selection.statement.blobs[absent[0]].size}
        assert "1 manifests and blobs" in verify(tmp_path, path)[1]

    def test_nothing_but_tags(self, tmp_path: Path) -> None:
        selection = images()
        everything = [key for key, _ in selection.statement.all]
        made = files_of(selection, without=everything)
        assert document(tmp_path, write_folder(made, tmp_path / "bundle"))["problems"] == []

    def test_what_is_a_manifest_here_and_a_blob_there(self, tmp_path: Path) -> None:
        selection = images()
        key = key_of(Digest.parse(f"sha256:{MANIFEST.rpartition('/')[2]}"))
        layer = selection.blob(selection.content[key], "team/tool")
        selection.image("holds a manifest", "team/tool", layers=[layer])
        selection.statement.order()
        made = files_of(selection)
        assert document(tmp_path, write_folder(made, tmp_path / "bundle"))["problems"] == []
        assert document(tmp_path, _tar(tmp_path, tar(members(made))))["problems"] == []

    def test_a_sparse_index_and_a_layer_that_is_not_distributed(self, tmp_path: Path) -> None:
        selection = Selection()
        foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        layer = {"mediaType": foreign, "digest": f"sha256:{'0' * 64}", "size": 5}
        image = selection.image("windows", "team/app", layers=[layer])
        child = {**image, "digest": f"sha256:{'1' * 64}"}
        index = selection.manifest(
            {"manifests": [image, child]}, "team/app", media_type=media_types.OCI_INDEX
        )
        key = key_of(Digest.parse(index["digest"]))
        whole = selection.statement.manifests[key]
        selection.statement.manifests[key] = replace(whole, sparse=True)
        assert document(tmp_path, write_folder(files_of(selection), tmp_path / "bundle"))["problems"] == []
        selection.statement.manifests[key] = whole
        told = document(tmp_path, write_folder(files_of(selection), tmp_path / "whole"))
        assert [one["file"] for one in told["problems"]] == [file_name(key)]

    def test_a_later_minor_version_with_more_in_its_head(self, tmp_path: Path) -> None:
        made = files_of(images())
        about = {**json.loads(made[HEAD]), "format": "1.7", "mood": {"good": True}}
        del about["id"]
        made[HEAD] = canonical({**about, "id": "b-" + _sha256(canonical(about))[:20]})
        assert document(tmp_path, write_folder(summed(made), tmp_path / "bundle"))["problems"] == []


def spoil(file: Path) -> None:
    """Flip a bit, or flip it back."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def _sha256(content: bytes) -> str:
    return Digest.of(content).encoded


def _tar(folder: Path, content: bytes) -> Path:
    (folder / "bundle.tar").write_bytes(content)
    return folder / "bundle.tar"


class TestSignatures:
    def test_it_says_plainly_that_none_was_checked(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(sound(keys), tmp_path / "bundle")
        code, said = verify(tmp_path, path)
        assert code == SOUND
        assert "signatures: NOT checked: no --key was given" in said
        assert said.splitlines()[-1].startswith("the files are sound, and may be anybody's")

    def test_without_openssl_it_could_not_check(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(sound(keys), tmp_path / "bundle")
        code, said = verify(tmp_path, path, keys=(keys.trusted,), path=str(tmp_path))
        assert code == UNCHECKED
        assert "NOT checked: there is no openssl here" in said

    def test_an_openssl_too_old_for_ed25519_could_not_check(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(sound(keys), tmp_path / "bundle")
        old = tmp_path / "old" / "openssl"
        old.parent.mkdir()
        old.write_text(f'#!/bin/sh\n[ "$2" = -help ] && exit 0\nexec {shutil.which("openssl")} "$@"\n')
        old.chmod(0o755)
        code, said = verify(tmp_path, path, keys=(keys.second,), path=str(old.parent))
        assert code == UNCHECKED
        assert "too old for Ed25519" in said
        assert verify(tmp_path, path, keys=(keys.trusted,), path=str(old.parent))[0] == SOUND

    def test_one_key_given_twice_is_one(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(sound(keys), tmp_path / "bundle")
        given = (keys.trusted, keys.trusted)
        assert verify(tmp_path, "--required", 2, path, keys=given)[0] == USAGE

    def test_those_of_others_are_told(self, keys: Keys, tmp_path: Path) -> None:
        path = write_folder(files_of(images(), keys.stranger), tmp_path / "bundle")
        code, said = verify(tmp_path, path, keys=(keys.trusted,))
        assert code == REFUSED
        assert keys.stranger.public.id in said


class TestUsage:
    def test_nothing_given(self, tmp_path: Path) -> None:
        assert verify(tmp_path)[0] == USAGE

    def test_a_key_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text("nothing")
        code, said = verify(tmp_path, "--key", "key.pem", ".")
        assert code == USAGE
        assert "key.pem is no public key" in said

    def test_signatures_required_without_a_key(self, tmp_path: Path) -> None:
        assert verify(tmp_path, "--required", 1, ".")[0] == USAGE

    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        code, said = verify(tmp_path, "nowhere")
        assert code == UNCHECKED
        assert "nowhere" in said

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        code, said = verify(tmp_path, ".")
        assert code == DAMAGED
        assert f"{HEAD}: it is missing" in said


def test_no_more_than_a_hundred_problems_are_told(tmp_path: Path) -> None:
    made = files_of(images())
    made.update({f"strange-{number}": b"" for number in range(150)})
    told = document(tmp_path, write_folder(made, tmp_path / "bundle"))
    assert len(told["problems"]) == 100
    assert told["more_problems"] == 50
    assert "and 50 more problems" in verify(tmp_path, tmp_path / "bundle")[1]


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    made = files_of(images())
    del made[MANIFEST]
    made[LARGE] = made[LARGE][:-1]
    made["notes.txt"] = b"hello"
    told = document(tmp_path, write_folder(made, tmp_path / "bundle"))
    named = {one["file"] for one in told["problems"]}
    assert {MANIFEST, LARGE, "notes.txt"} <= named


def test_what_it_says_cannot_drive_a_terminal(tmp_path: Path) -> None:
    made = files_of(images())
    made["\x1b[31mred"] = b""
    code, said = verify(tmp_path, write_folder(made, tmp_path / "bundle"))
    assert code == DAMAGED
    assert "\x1b" not in said


def test_large_blobs_are_never_held_in_memory(tmp_path: Path) -> None:
    selection = Selection()
    layer = selection.blob(bytes(200 << 20), "team/app")
    selection.tag("team/app", "1", selection.image("large", "team/app", layers=[layer]))
    selection.statement.order()
    content = tar(members(files_of(selection)))
    measured = (
        "import resource, runpy, sys\n"
        "limit = 100 << 20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        f"sys.argv = ['verify', '-']\nrunpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", measured], input=content, capture_output=True, cwd=tmp_path
    )
    assert done.returncode == SOUND, done.stderr.decode()


UNSIGNED = tar(members(files_of(images())))
# Behind what tarfile fills up with zeros, of which nobody needs more than two blocks.
NEEDED = len(UNSIGNED.rstrip(b"\0")) + 512 - len(UNSIGNED.rstrip(b"\0")) % 512 + 1024


def exit_of(content: bytes) -> int:
    """The exit code for a tar."""
    verifier = Verifier()
    verify_tar(verifier, io.BytesIO(content))
    assert len(verifier.problems) == 0 or verifier.exit == DAMAGED
    return verifier.exit


@given(st.integers(0, len(UNSIGNED) - 1), st.integers(1, 255))
def test_no_byte_of_a_tar_can_be_another(at: int, change: int) -> None:
    assert exit_of(UNSIGNED) == SOUND
    content = bytearray(UNSIGNED)
    content[at] ^= change
    assert exit_of(bytes(content)) == DAMAGED


@given(st.integers(0, NEEDED - 1))
def test_no_end_of_a_tar_can_be_lost(length: int) -> None:
    assert exit_of(UNSIGNED[:NEEDED]) == SOUND
    assert exit_of(UNSIGNED[:length]) == DAMAGED


@given(st.lists(st.binary(max_size=1500), max_size=4), st.data())
def test_whatever_stands_in_a_tar_it_is_told_and_not_thrown(parts: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(UNSIGNED) // 512)) * 512
    assert exit_of(UNSIGNED[:at] + b"".join(parts)) == DAMAGED or at >= NEEDED - 1024


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["manifest", "blob", "tag"]), JSON, st.data())
def test_whatever_stands_in_a_statement_it_is_told_and_not_thrown(
    kind: str, value: Any, data: st.DataObject
) -> None:
    made = files_of(images())
    lines = [json.loads(line) for line in made[CONTENTS].splitlines()]
    line = next(one for one in lines if one["kind"] == kind)
    line[data.draw(st.sampled_from([*sorted(line), "pieces", "sparse", "more"]))] = value
    made[CONTENTS] = b"".join(map(canonical, lines))
    exit_of(tar(members(resealed(made))))


@given(
    st.sampled_from(["config", "layers", "mediaType", "schemaVersion", "manifests", "subject", "more"]), JSON
)
def test_whatever_stands_in_a_manifest_it_is_told_and_not_thrown(name: str, value: Any) -> None:
    selection = images()
    selection.image("fuzz", "team/app", **{"layers": [], name: value} if name != "layers" else {"layers": []})
    selection.manifest({"config": None, name: value}, "team/app")
    selection.statement.order()
    exit_of(tar(members(files_of(selection))))


def test_it_is_one_file_for_python_3_9_without_imports_of_ours() -> None:
    text = PROGRAM.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert "socket" not in names
