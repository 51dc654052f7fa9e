"""What must be on the disk before a work may go on, and the thread that sees to it for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Generator
from itertools import chain
from queue import Empty, SimpleQueue

Wanted = Collection[int | str]
"""The bytes of open files, by descriptor, and the names in directories, by path."""

Work = Generator[Wanted, None, None]
"""Goes on, a short turn at a time, when what it yields is on the disk; a failed sync is raised in it."""

Sync = Callable[[int | str], None]


def alone(work: Work, sync: Sync) -> Generator[None, None, None]:
    """The work with its own syncs, in as many turns."""
    error = None
    try:
        while (wanted := advance(work, error)) is not None:
            error = _first(wanted, _failures(wanted, sync))
            if error is None:
                yield  # Who is cancelled goes no further, but the work must hear of an error.
    finally:
        work.close()


def advance(work: Work, error: OSError | None) -> Wanted | None:
    """One turn of a work, which hears of the error of its last sync; None at its end."""
    try:
        return next(work) if error is None else work.throw(error)
    except StopIteration:
        return None


class Syncs:
    """One thread that syncs for all: what several want at once is gathered, the same directory synced once.

    Each file call gives up the interpreter's lock and takes it back. Of many threads that each make short
    calls, most of the time goes into that; so what waits for the disk is all that is done here.
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._asked: SimpleQueue[list[_Asked] | None] = SimpleQueue()
        self._gathered: list[_Asked] = []  # in this turn of the loop: to wake a thread costs 30 µs
        self._thread: threading.Thread | None = None

    async def done(self, wanted: Wanted) -> OSError | None:
        """Return when all of it is on the disk, or could not be.

        When cancelled, too; then the error is the cause of the CancelledError.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="storage-syncs", daemon=True)
            self._thread.start()
        asked = _Asked(wanted)
        if not self._gathered:
            asked.loop.call_soon(self._hand_over)
        self._gathered.append(asked)
        return await asked.answer()

    async def close(self) -> None:
        """Wait for what was asked, then end the thread."""
        if self._thread is not None:
            self._hand_over()
            self._asked.put(None)
            await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._asked.put(gathered)

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            try:
                while (another := self._asked.get_nowait()) is not None:
                    asked.extend(another)
                self._asked.put(None)
            except Empty:
                pass
            failed = _failures(chain.from_iterable(one.wanted for one in asked), self._sync)
            asked[0].loop.call_soon_threadsafe(_tell, asked, failed)


class _Asked:
    """What one work waits for."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self.loop.create_future()
        self._error: OSError | None = None
        self._told = False

    def tell(self, error: OSError | None) -> None:
        self._error, self._told = error, True
        if not self._future.done():
            self._future.set_result(None)

    async def answer(self) -> OSError | None:
        cancelled = False
        while not self._told:
            if self._future.done():
                self._future = self.loop.create_future()
            try:
                await self._future
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError from self._error
        return self._error


def _failures(wanted: Collection[int | str] | chain[int | str], sync: Sync) -> dict[int | str, OSError]:
    failed: dict[int | str, OSError] = {}
    for one in dict.fromkeys(wanted):
        try:
            sync(one)
        except OSError as error:
            failed[one] = error
    return failed


def _first(wanted: Wanted, failed: dict[int | str, OSError]) -> OSError | None:
    return next((failed[one] for one in wanted if one in failed), None) if failed else None


def _tell(asked: list[_Asked], failed: dict[int | str, OSError]) -> None:
    for one in asked:
        one.tell(_first(one.wanted, failed))
