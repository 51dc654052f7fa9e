"""Where a work is done: a short one on the event loop while the disk is quick, any other in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from storage.errors import StorageError
from storage.patience import Patience
from storage.syncs import Sync, Syncs, Work, advance, alone
from storage.threads import Threads

# Of a turn so much counts: that a busy machine or disk holds up one now and then is no reason to go aside.
_COUNTED_SECONDS = 0.025


class Works:
    """Does works; those on the loop share the thread that syncs for them."""

    def __init__(self, threads: Threads, sync: Sync, clock: Callable[[], float]) -> None:
        self._threads = threads
        self._sync = sync
        self._syncs = Syncs(sync)
        self.patience = Patience(clock, _COUNTED_SECONDS)

    async def do(self, work: Work, abandon: Callable[[], None] | None = None, *, short: bool) -> None:
        """Return when the work has ended, or raise what it raised.

        When cancelled, it returns only when nothing of the work is under way any more; `abandon` is called
        first if that has to wait for a thread.
        """
        patience = self.patience
        if not short or patience.exhausted:
            await self._threads.finish(alone(work, self._sync), abandon)
            return
        error = None
        try:
            while True:
                began = patience.clock()
                try:
                    wanted = advance(work, error)
                finally:
                    patience.took(began)
                if wanted is None:
                    return
                error = await self._syncs.done(wanted) if wanted else None
        except asyncio.CancelledError as cancelled:
            if isinstance(cancelled.__cause__, OSError):
                # The work must hear of it: who asks for the same sync again is told that all is well.
                with suppress(StorageError, OSError):
                    advance(work, cancelled.__cause__)
            raise
        finally:
            work.close()

    async def close(self) -> None:
        """Wait for the syncs under way."""
        await self._syncs.close()
