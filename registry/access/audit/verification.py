"""Verification: whether the lines of the trail are all there, in order and as they were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from registry.access.audit.chain import Link, NotALine, read_link

# Where a line begins; within one a quotation mark would stand behind a backslash.
_BEGIN = '{"'
_ATTEMPTS = 16
_ENDED = "audit.ended"
_NAMED = 20  # numbers of lines that a report names of each kind


class NoTrail(Exception):
    """There is nothing to verify; the text says why."""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What there is of one process; of the numbers of lines that are not right each list has at most 20.

    `missing` lines are in none of the files, `lost` is how many of them the process itself said it could
    not write, `earlier` how many stand before the first, where those were not asked for. `ended` says
    whether its last line is there: without it, the process runs, was killed, or its end was cut off.
    `head` is the hash of the last line, which vouches for all before it.
    """

    process: str
    begun: str
    last_at: str
    first: int
    last: int
    lines: int
    earlier: int
    missing: int
    lost: int
    altered: list[int]
    broken: list[int]
    disordered: list[int]
    ended: bool
    head: str

    @property
    def sound(self) -> bool:
        """Whether all that should be there is there and as it was written."""
        return not (self.missing or self.altered or self.broken or self.disordered)


@dataclass(frozen=True, slots=True)
class Report:
    """What all files say together; `other` lines are not the trail's, `torn` ones no whole line of anything.

    `truncated` names the files that end in the middle of a line.
    """

    processes: list[ProcessReport]
    other: int
    torn: int
    truncated: list[str]

    @property
    def sound(self) -> bool:
        """Whether everything is."""
        return not self.truncated and all(process.sound for process in self.processes)


@dataclass(slots=True)
class _Run:
    """Lines of one process that follow one another in a file, each on the one before."""

    first: Link
    last: Link
    lines: int = 1


@dataclass(slots=True)
class _Found:
    """What the files have of one process."""

    runs: list[_Run] = field(default_factory=list)
    altered: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    disordered: list[int] = field(default_factory=list)


class Verification:
    """Takes files one after the other, in any order; `partial` does not ask for what was before them."""

    def __init__(self, *, partial: bool = False) -> None:
        self._partial = partial
        self._found: dict[str, _Found] = {}
        self._other = 0
        self._torn = 0
        self._truncated: list[str] = []

    def read(self, name: str, lines: Iterable[bytes]) -> None:
        """Look at the lines of one file, the oldest first."""
        # The run that each process is in the middle of.
        runs: dict[str, _Run] = {}
        line = b""
        whole = True
        for line in lines:
            whole = self._look(line.decode("utf-8", "replace").strip(), runs)
        if not whole and not line.endswith(b"\n"):
            self._truncated.append(name)

    def report(self) -> Report:
        """What was found in all files together."""
        processes = [self._judge(process, found) for process, found in self._found.items()]
        processes.sort(key=lambda one: (one.begun, one.process))
        return Report(processes, self._other, self._torn, self._truncated)

    def _look(self, text: str, runs: dict[str, _Run]) -> bool:
        """Look at one line; whether it was whole."""
        if _BEGIN not in text:
            self._other += bool(text)
            return True
        begin = text.index(_BEGIN)
        for attempt in range(_ATTEMPTS):
            try:
                link = read_link(text[begin:])
            except NotALine:
                # A line that was cut off may have swallowed the beginning of the next.
                begin = text.find(_BEGIN, begin + 1)
                if begin < 0:
                    break
            else:
                self._torn += attempt > 0
                if link is None:
                    self._other += 1
                else:
                    self._add(link, runs)
                return True
        self._torn += 1
        return False

    def _add(self, link: Link, runs: dict[str, _Run]) -> None:
        found = self._found.setdefault(link.process, _Found())
        run = runs.get(link.process)
        follows = run is not None and link.number == run.last.number + 1
        if not link.intact:
            found.altered.append(link.number)
            if not follows:
                # Not even its number is to be believed.
                return
        if run is None or link.number > run.last.number + 1:
            runs[link.process] = _Run(link, link)
            found.runs.append(runs[link.process])
        elif follows:
            if not _is_on(link, run.last):
                found.broken.append(link.number)
            run.last = link
            run.lines += 1
        else:
            found.disordered.append(link.number)

    def _judge(self, process: str, found: _Found) -> ProcessReport:
        runs = sorted(found.runs, key=lambda run: (run.first.number, run.last.number))
        broken = list(found.broken)
        missing = earlier = lines = 0
        last: Link | None = None
        for run in runs:
            gap = run.first.number - (1 if last is None else last.number + 1)
            if gap < 0:
                # The same file twice does no harm; another that tells the same numbers anew does.
                if not any(_same(run, other) for other in runs if other is not run):
                    broken.append(run.first.number)
                continue
            if last is None and self._partial:
                earlier = gap
            else:
                missing += gap
            if not gap and not _is_on(run.first, last):
                broken.append(run.first.number)
            lines += run.lines
            last = run.last
        return ProcessReport(
            process,
            runs[0].first.time if runs else "",
            last.time if last else "",
            runs[0].first.number if runs else 0,
            last.number if last else 0,
            lines,
            earlier,
            missing,
            max((run.last.lost for run in runs), default=0),
            sorted(found.altered)[:_NAMED],
            sorted(broken)[:_NAMED],
            sorted(found.disordered)[:_NAMED],
            last is not None and last.event == _ENDED,
            last.hash if last else "",
        )


def _is_on(link: Link, before: Link | None) -> bool:
    """Whether a line stands on the one before; on none the first, and none on the last."""
    if before is None:
        return link.previous == ""
    return link.previous == before.hash and before.event != _ENDED


def _same(run: _Run, other: _Run) -> bool:
    return run.first.number == other.first.number and run.last.hash == other.last.hash
