"""What the tests of the trail share: a sink in memory, and the lines of whole trails."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from registry.access.audit import Entry, Trail
from registry.access.audit.chain import Line
from registry.access.audit.verification import Report, Verification


class Lines:
    """A sink in memory."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.lost = 0
        self.ended = False

    def put(self, line: Line) -> None:
        """Keep it."""
        self.lines.append(line)

    def end(self) -> None:
        """Remember that it was."""
        self.ended = True


class Ticks:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def trail(sink: Lines, process: str = "p1") -> Trail:
    """A trail into memory."""
    return Trail(sink, process=process, about="a test", now=Ticks())


def written(process: str = "p1", entries: int = 3) -> list[bytes]:
    """The lines of a process that began, noted so many entries and ended."""
    sink = Lines()
    made = trail(sink, process)
    for number in range(entries):
        made.note(Entry("tag.deleted", who="user:alice", repository="team/app", tag=f"v{number}"))
    made.end()
    return [json.dumps(line).encode() + b"\n" for line in sink.lines]


def verified(*files: list[bytes], partial: bool = False) -> Report:
    """What verification says of files with these lines."""
    verification = Verification(partial=partial)
    for number, lines in enumerate(files):
        verification.read(f"file {number}", lines)
    return verification.report()
