"""Work that one process at a time does, by a lease."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from registry.errors import TooManyRequests
from registry.logs import event
from registry.store.store import Store
from registry.work.leases import Lease, LeaseLost

LEASE_SECONDS = 60.0
_LOG = logging.getLogger(__name__)


class Writable(Protocol):
    """What is worked on: a registry's store, as long as it may be written to."""

    @property
    def store(self) -> Store:
        """Where the lease lies."""

    def may_write(self) -> bool:
        """Whether anything may be written."""

    def require_writable(self) -> None:
        """Raises ReadOnly while nothing may be written."""


class Leased:
    """The lease of one kind of work: others know this process as `who`, which is `doing` it then.

    `status` is the command that tells how far it is, where there is one.
    """

    def __init__(
        self,
        registry: Callable[[], Writable],
        name: str,
        doing: str,
        status: str | None = None,
        *,
        who: str,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._name = name
        self._doing = doing
        self._status = status
        self._who = who
        self._seconds = seconds
        self._clock = clock

    def lease(self) -> Lease:
        """This process's view of the lease."""
        store = self._registry().store
        return Lease(
            store.driver, store.effects, self._name, who=self._who, seconds=self._seconds, clock=self._clock
        )

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Hold the lease, and say all the time that we do; gives what to call between handfuls of work.

        Raises TooManyRequests while another process holds it, and when it took over since this one was silent
        for too long. The step ends the work then, or where writing is forbidden.
        """
        lease = self.lease()
        if not await lease.take():
            holder = await lease.holder() or "another process"
            status = f"; `{self._status}` tells how far it is" if self._status else ""
            raise self._busy(f"{holder} is {self._doing} already{status}")
        try:
            async with lease.kept() as kept:

                async def step() -> None:
                    await kept()
                    self._registry().require_writable()
                    await asyncio.sleep(0)

                yield step
        except LeaseLost:
            event(_LOG, logging.WARNING, "lease.lost", work=self._name)
            raise self._busy(
                f"another process is {self._doing} now, since this one was silent for too long"
            ) from None
        finally:
            await lease.release()

    async def when_due(
        self,
        is_due: Callable[[], Awaitable[bool]],
        work: Callable[[Callable[[], Awaitable[None]]], Awaitable[object]],
    ) -> None:
        """Do work that is due, with the step of `held`, unless somebody else does it or nobody may."""
        if not self._registry().may_write() or not await is_due():
            return
        with suppress(TooManyRequests):
            async with self.held() as step:
                # Whoever has just let go of it may have done all.
                if await is_due():
                    await work(step)

    def _busy(self, message: str) -> TooManyRequests:
        return TooManyRequests(message, headers={"Retry-After": "60"})
