from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.access.audit.lines import written
from tests.cli.conftest import Fake, Run
from tests.cli.test_verbs import listing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "audit.log"
    made.write_bytes(b"".join(written("p1", 3)))
    return made


def test_a_whole_trail_is_code_0_and_says_what_to_write_down(run: Run, path: Path) -> None:
    ended = run("audit", "verify", str(path))
    head = json.loads(path.read_bytes().splitlines()[-1])["hash"]
    assert ended.code == 0
    assert ended.out == (
        f"process p1, from 2026-01-02T03:04:06.000000Z: lines 1 to 5 and its end; last hash {head}\n"
        "the trail is whole\n"
    )


def test_what_is_wrong_is_code_4_and_named(run: Run, path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"alice", b"mallo") + lines[3] + b'{"half')
    ended = run("audit", "verify", str(path))
    assert ended.code == 4
    for told in ("MISSING: 1", "ALTERED: 2", "no end", "ends in the middle of a line", "not whole: 1"):
        assert told in ended.out
    assert ended.out.endswith("THE TRAIL IS NOT WHOLE\n")
    ended = run("audit", "verify", "--json", str(path))
    assert ended.code == 4
    document = json.loads(ended.out)
    assert document["sound"] is False
    assert document["processes"][0]["altered"] == [2]
    assert document["truncated"] == [str(path)]


def test_a_line_that_a_kill_has_cut_off_is_told_as_that(run: Run, path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    later = path.with_suffix(".later")
    later.write_bytes(b"".join(lines[:-1]) + lines[-1][:40] + b"\n")
    ended = run("audit", "verify", str(later))
    assert ended.code == 0
    assert ended.out.endswith(
        "lines that are not whole: 1 (what was cut off while it was written)\nthe trail is whole\n"
    )


def test_what_was_before_may_not_be_asked_for(run: Run, path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[2:]))
    assert run("audit", "verify", str(path)).code == 4
    ended = run("audit", "verify", "--partial", str(path))
    assert ended.code == 0
    assert "earlier lines not asked for: 2" in ended.out


def test_several_files_and_standard_input(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    old = path.with_suffix(".1")
    old.write_bytes(b"".join(lines[:2]))
    path.write_bytes(b"".join(lines[2:]))
    assert run("audit", "verify", str(path), str(old)).code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(old.read_bytes())))
    assert run("audit", "verify", "-", str(path)).code == 0


@pytest.mark.parametrize(
    ("name", "told"), [("none", "No such file"), (".", "directory"), ("empty", "no line")]
)
def test_where_there_is_no_trail_that_is_code_1(run: Run, tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "empty").write_text('{"event": "http.request"}\n')
    ended = run("audit", "verify", name)
    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert json.loads(run("audit", "verify", name, "--json").err)["exit"] == 1


def test_a_process_cannot_steer_the_terminal(run: Run, path: Path) -> None:
    path.write_bytes(b"".join(written("\x1b[31m", 1)))
    assert "\x1b" not in run("audit", "verify", str(path)).out


def test_it_stands_beside_what_the_table_has_for_the_noun(run: Run, path: Path) -> None:
    (path.parent / "data" / "_moorage").mkdir(parents=True)
    made = listing([])
    fake = Fake([replace(made, name="audit.look")])
    told = run("audit", "--help", composition=fake).out
    assert "look" in told and "verify" in told
    assert run("audit", "verify", str(path), composition=fake).code == 0
    assert run("audit", "look", "a", "on", composition=fake).code == 0
    assert fake.journal == ["open", "closed"]
