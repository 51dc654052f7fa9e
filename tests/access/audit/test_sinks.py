from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry import logs
from registry.access.audit import Entry, Trail
from registry.access.audit.sinks import AuditFile, AuditLog, AuditUnwritable, open_sink, tell_log
from registry.access.audit.verification import Report, Verification
from tests.access.audit.lines import Ticks
from tests.storage.disks import Mount, mount

__all__ = ["mount"]


class Told:
    """What a sink has said of lost lines."""

    def __init__(self) -> None:
        self.said: list[tuple[str | None, int]] = []

    def __call__(self, reason: str | None, lost: int) -> None:
        self.said.append((reason, lost))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def into(sink: AuditFile, process: str = "p1") -> Trail:
    """A trail into a file."""
    return Trail(sink, process=process, about="a test", now=Ticks())


def note(trail: Trail, count: int = 1) -> None:
    """Note something, so many times."""
    for number in range(count):
        trail.note(Entry("tag.deleted", who="user:alice", tag=f"v{number}", detail="x" * 100))


def verified(*paths: Path, partial: bool = False) -> Report:
    """What verification says of files."""
    verification = Verification(partial=partial)
    for path in paths:
        with path.open("rb") as file:
            verification.read(path.name, file)
    return verification.report()


def test_lines_are_appended_one_write_each(path: Path, told: Told) -> None:
    path.write_text('{"before": true}\n')
    written: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        written.append(data)
        return os.write(descriptor, data)

    trail = into(AuditFile(str(path), told, write=write))
    note(trail, 3)
    trail.end()
    assert path.read_bytes() == b'{"before": true}\n' + b"".join(written)
    assert len(written) == 5
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in written)
    assert verified(path).sound
    assert told.said == []


def test_the_file_is_not_for_everybody(path: Path, told: Told) -> None:
    before = os.umask(0o002)
    try:
        into(AuditFile(str(path), told)).begin()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_control_characters_and_names_are_escaped(path: Path, told: Told) -> None:
    trail = into(AuditFile(str(path), told))
    trail.note(Entry("login.failed", who='user:"\n{\x1b[31m\x7f\u202e\udcff', agent="ü"))
    trail.end()
    text = path.read_text()
    assert len(text.splitlines()) == 3
    assert all(line.isprintable() for line in text.splitlines())
    assert json.loads(text.splitlines()[1])["who"] == 'user:"\n{\x1b[31m\x7f\u202e\udcff'
    assert verified(path).sound


def test_a_renamed_file_is_left_and_a_new_one_begun(path: Path, told: Told) -> None:
    trail = into(AuditFile(str(path), told))
    note(trail)
    old = path.rename(path.with_suffix(".1"))
    note(trail)
    assert len(old.read_bytes().splitlines()) == 2
    assert len(path.read_bytes().splitlines()) == 1
    path.unlink()
    path.touch()
    note(trail)
    assert len(path.read_bytes().splitlines()) == 1
    trail.end()
    assert verified(path, old).processes[0].missing == 1
    assert told.said == []


def test_two_processes_share_a_file(path: Path, told: Told) -> None:
    one, two = into(AuditFile(str(path), told), "one"), into(AuditFile(str(path), told), "two")
    for _ in range(3):
        note(one)
        note(two)
    one.end()
    two.end()
    report = verified(path)
    assert report.sound
    assert [process.lines for process in report.processes] == [5, 5]


def test_what_cannot_be_written_is_counted_told_and_said_in_the_next_line(path: Path, told: Told) -> None:
    full = False

    def write(descriptor: int, data: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)

    sink = AuditFile(str(path), told, write=write)
    trail = into(sink)
    note(trail)
    full = True
    note(trail, 3)
    assert told.said == [("No space left on device", 1)]
    full = False
    note(trail)
    assert told.said == [("No space left on device", 1), (None, 3)]
    assert sink.lost == 3
    trail.end()
    (process,) = verified(path).processes
    assert (process.missing, process.lost, process.ended, process.broken) == (3, 3, True, [])


def test_half_a_line_does_not_swallow_the_next(path: Path, told: Told) -> None:
    room = 1 << 20

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = os.write(descriptor, data[:room])
        room -= count
        return count

    trail = into(AuditFile(str(path), told, write=write))
    note(trail)
    room = 20
    note(trail, 2)
    assert not path.read_bytes().endswith(b"\n")
    room = 1 << 20
    note(trail)
    trail.end()
    report = verified(path)
    assert (report.torn, report.truncated, report.processes[0].missing) == (1, [], 2)
    assert [line[-1:] for line in path.read_text().splitlines()].count("}") == 4, "all but the half are JSON"
    assert all(json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))
    assert told.said == [("no room left", 1), (None, 2)]


def test_a_full_disk_and_room_again(mount: Mount, told: Told) -> None:
    disk = mount("audit", 64 << 10)
    path = disk / "audit.log"
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (48 << 10))
    trail = into(AuditFile(str(path), told))
    note(trail, 200)
    assert told.said[0][0] == "No space left on device" or told.said[0][0] == "no room left"
    ballast.unlink()
    note(trail)
    trail.end()
    assert told.said[1][0] is None
    report = verified(path)
    (process,) = report.processes
    assert process.missing == process.lost == told.said[1][1] > 0
    assert (process.altered, process.broken, process.ended) == ([], [], True)


class Slow:
    """A disk that takes its time, and then as long as a test wants."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = 0.0
        self.open = threading.Event()
        self.open.set()
        self.threads: list[int] = []

    def write(self, descriptor: int, data: bytes) -> int:
        self.threads.append(threading.get_ident())
        self._clock.now += self.seconds
        assert self.open.wait(30)
        return os.write(descriptor, data)


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow(Clock())
    yield made
    made.open.set()


def slowed(path: Path, told: Callable[[str | None, int], None], slow: Slow) -> tuple[AuditFile, Trail]:
    """A trail whose disk has just been slow three times."""
    sink = AuditFile(str(path), told, clock=slow._clock, write=slow.write, capacity=5)
    trail = into(sink)
    slow.seconds = 0.1
    note(trail, 2)  # and that it begins
    slow.seconds = 0.0
    return sink, trail


def drain(sink: AuditFile) -> None:
    """Wait until the thread has written everything."""
    with sink._changed:
        assert sink._changed.wait_for(lambda: not sink._queue, 30)


def test_while_the_disk_is_slow_a_thread_writes(path: Path, told: Told, slow: Slow) -> None:
    sink, trail = slowed(path, told, slow)
    slow.open.clear()
    # Nobody lets the thread go on: this returns all the same, also when it is time to try the loop again.
    note(trail, 2)
    slow._clock.now += 31
    note(trail)
    assert sink.lost == 0
    slow.open.set()
    trail.end()
    assert verified(path).sound
    assert len(set(slow.threads)) == 2


def test_a_disk_that_is_slow_for_too_long_loses_lines_and_it_is_said(
    path: Path, told: Told, slow: Slow
) -> None:
    sink, trail = slowed(path, told, slow)
    slow.open.clear()
    note(trail, 9)
    assert sink.lost == 4
    assert told.said == [("the disk is too slow", 1)]
    slow.open.set()
    drain(sink)
    assert told.said[1:] == [(None, 4)]
    trail.end()
    (process,) = verified(path).processes
    assert (process.missing, process.lost, process.ended) == (4, 4, True)


def test_when_the_disk_is_quick_again_the_loop_writes(path: Path, told: Told, slow: Slow) -> None:
    sink, trail = slowed(path, told, slow)
    note(trail)
    drain(sink)
    slow._clock.now += 31
    note(trail)
    assert slow.threads[-1] == threading.get_ident()
    trail.end()
    assert verified(path).sound


@pytest.mark.parametrize("name", ["there/is/none", ".", "pipe", "null"])
def test_what_is_no_file_is_refused_at_the_start(tmp_path: Path, told: Told, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(AuditUnwritable, match=r"audit\.file"):
        open_sink(tmp_path / name, told, at_once=True)
    sink = open_sink(tmp_path / name, told, at_once=False)
    assert told.said == []
    sink.put({"a": 1})
    assert sink.lost == 1


def test_without_a_file_lines_go_into_the_log_whatever_its_level(path: Path) -> None:
    with path.open("wb") as file, logs.writing("json", "error", descriptor=file.fileno()):
        trail = Trail(AuditLog(), process="p1", about="a test", now=Ticks())
        trail.note(Entry("login.failed", agent="password=hunter2 Bearer abcdefghijkl"))
        logs.event(logging.getLogger("x"), logging.INFO, "http.request")
        trail.end()
    assert "hunter2" not in path.read_text()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["audit.noted"] * 3
    assert verified(path).sound


def test_people_read_a_line_in_the_log_without_what_verification_needs(path: Path) -> None:
    with path.open("wb") as file, logs.writing("text", "error", descriptor=file.fileno()):
        trail = Trail(AuditLog(), process="p1", about="a test", now=Ticks())
        entry = Entry(
            "tag.deleted", who="user:alice", address="10.0.0.1", repository="a", tag="v1", agent="x"
        )
        trail.note(entry)
        trail.note(replace(entry, who="user:\nb tag=v2", detail="password=hunter2"))
    _, first, second = path.read_text().splitlines()
    assert first.endswith(
        "INFO    tag.deleted who=user:alice repository=a tag=v1 outcome=done address=10.0.0.1"
    )
    assert 'who="user:\\nb tag=v2" repository=a tag=v1' in second and "hunter2" not in second


def test_what_the_log_dropped_is_missing(path: Path) -> None:
    with path.open("wb") as file, logs.writing("json", "info", descriptor=file.fileno(), capacity=10):
        trail = Trail(AuditLog(), process="p1", about="a test", now=Ticks())
        for _ in range(5000):
            trail.note(Entry("login.failed"))
    (process,) = verified(path).processes
    dropped = sum(
        json.loads(line).get("lines", 0)
        for line in path.read_text().splitlines()
        if json.loads(line)["event"] == "log.dropped"
    )
    assert process.missing + 5001 - process.last == dropped > 0


def test_the_log_says_that_lines_are_lost_and_that_they_are_not_any_more(path: Path) -> None:
    with path.open("wb") as file, logs.writing("json", "info", descriptor=file.fileno()):
        tell_log("No space left on device", 1)
        tell_log(None, 3)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["event"], first["level"], first["reason"]) == (
        "audit.failed",
        "error",
        "No space left on device",
    )
    assert (second["event"], second["lines_lost"]) == ("audit.restored", 3)
