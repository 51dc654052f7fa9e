"""The trail: everything that is noted, numbered and chained, on its way to a file or into the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from registry import logs
from registry.access.audit.chain import Chain, Line
from registry.access.audit.entries import Entry


class Sink(Protocol):
    """Where lines go. `lost` is how many of them could not be written so far."""

    @property
    def lost(self) -> int:
        """Lines that could not be written."""

    def put(self, line: Line) -> None:
        """Write a line, or count it; never waits for long and never raises."""

    def end(self) -> None:
        """Write what waits, as far as that takes no long time, and close."""


class Trail:
    """The lines of one process, all noted on its event loop; the first and the last say that they are.

    `about` says which process it is, for people; `pulls` whether pulls are noted too.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        process: str,
        about: str,
        now: Callable[[], datetime],
        pulls: bool = False,
    ) -> None:
        self._sink = sink
        self._chain = Chain(process)
        self._about = about
        self._now = now
        self.pulls = pulls

    def begin(self) -> None:
        """Write the first line, unless there is one."""
        if self._chain.number == 0:
            self._put(Entry("audit.begun", detail=self._about))

    def note(self, entry: Entry) -> None:
        """Write an entry down."""
        self.begin()
        self._put(entry)

    def end(self) -> None:
        """Write the last line and close; where nothing was noted there is none."""
        if self._chain.number:
            self._put(Entry("audit.ended", detail=self._about))
        self._sink.end()

    def complete(self, entry: Entry) -> Entry:
        """The entry with the present and the running request."""
        at = entry.at or self._now()
        return replace(entry, at=at, request=entry.request or logs.request_id.get() or "")

    def _put(self, entry: Entry) -> None:
        fields: Line = {**self.complete(entry).document()}
        if lost := self._sink.lost:
            fields["lost"] = lost
        self._sink.put(self._chain.add(fields))
