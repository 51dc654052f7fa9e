"""A file that changes: what is good in it counts, what is not leaves what was there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.access.htpasswd import read_htpasswd
from registry.access.rules import read_rules
from registry.access.trust.keyfiles import read_certificates, read_jwks
from registry.access.watched import Unusable, Watched
from registry.settings import Problem, Source


def number(path: Path) -> int:
    """The number that a file holds."""
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise Unusable("the number", [Problem("", "there is no number", Source.file(str(path)))]) from error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "number"
    made.write_text("1")
    return made


@pytest.fixture
def watched(path: Path) -> Watched[int]:
    return Watched(path, number, "number")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def replace(path: Path, text: str) -> None:
    beside = path.with_name("beside")
    beside.write_text(text)
    os.replace(beside, path)


def test_what_is_new_and_good_counts(
    path: Path, watched: Watched[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert (watched.look(), watched.value) == (False, 1)
    replace(path, "2")
    assert (watched.look(), watched.value) == (True, 2)
    assert (watched.look(), watched.value) == (False, 2)
    assert told(caplog) == ["access.reloaded"]


@pytest.mark.parametrize("read", [read_rules, read_htpasswd, read_jwks, read_certificates])
def test_at_a_start_nobody_waits_for_whoever_writes_into_a_pipe(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unusable, match="no regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("how", ["nonsense", "away", "pipe", "directory", "loop"])
def test_what_is_no_good_is_told_once_and_changes_nothing(
    path: Path, watched: Watched[int], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path.unlink()
    if how == "nonsense":
        path.write_text("two")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "directory":
        path.mkdir()
    elif how == "loop":
        path.symlink_to(path)
    assert [watched.look() for _ in range(3)] == [False] * 3
    assert watched.value == 1
    assert told(caplog) == ["access.refused"]
    fields = caplog.records[0].fields  # type: ignore[attr-defined]
    assert fields["file"] == str(path)
    assert fields["reason"]
    if how == "directory":
        path.rmdir()
    replace(path, "3")
    assert (watched.look(), watched.value) == (True, 3)


def test_a_swapped_link_counts_as_kubernetes_does_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "number").write_text("1" if name == "one" else "2")
        os.utime(tmp_path / name / "number", ns=(0, 0))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "number").symlink_to("..data/number")
    watched = Watched(tmp_path / "number", number, "number")
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert (watched.look(), watched.value) == (True, 2), "though time and size are the same"


def test_what_changes_while_it_is_read_is_judged_at_the_next_look(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    changes = ["2", "3", "4"]

    def slowly(path: Path) -> int:
        found = number(path)
        if changes:
            replace(path, changes.pop(0))
        return found

    watched = Watched(path, slowly, "number")
    looks = [(watched.look(), watched.value) for _ in range(4)]
    assert looks == [(False, 1), (False, 1), (True, 4), (False, 4)]
    assert told(caplog) == ["access.reloaded"]


def test_what_is_bad_at_the_start_is_the_callers_affair(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"the number cannot be used:\n  .*there is no number"):
        Watched(tmp_path / "none", number, "number")
