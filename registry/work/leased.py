"""Work that one process at a time does, by a lease."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from registry.errors import TooManyRequests
from registry.logs import event
from registry.model.units import format_duration
from registry.store.store import Store
from registry.work.leases import Holder, Lease, LeaseLost
from registry.work.operations import Progress

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
        self._watched: Lease | None = None

    def lease(self) -> Lease:
        """This process's view of the lease."""
        store = self._registry().store
        return Lease(
            store.driver, store.effects, self._name, who=self._who, seconds=self._seconds, clock=self._clock
        )

    async def waiting(self) -> AsyncIterator[Progress]:
        """Just before `held`: for whom that would wait, who may be dead. Raises ReadOnly."""
        self._registry().require_writable()
        lease = self.lease()
        while not (await lease.is_free() or lease.is_alive) and (holder := await lease.holder()):
            told = (
                f"{holder.who} is {self._doing}, or has died: last heard of"
                f" {holder.heard:%Y-%m-%d %H:%M:%S} UTC; waiting whether it says anything, for"
                f" {format_duration(self._seconds)} at most"
            )
            yield Progress(int(lease.watched_seconds), math.ceil(self._seconds), "seconds", told)
            await asyncio.sleep(min(1.0, self._seconds / 10))
        self._watched = lease

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Hold the lease, and say all the time that we do; gives what to call between handfuls of work.

        Raises TooManyRequests while another process holds it, and when it took over since this one was silent
        for too long. The step ends the work then, or where writing is forbidden.
        """
        lease, self._watched = self._watched or self.lease(), None
        if not await lease.take():
            known = await lease.holder()
            holder = "another process" if known is None else known.who
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


def named(holder: Holder | None) -> tuple[str | None, float | None]:
    """Who holds a lease and for how long it has been silent, as results say it."""
    return (None, None) if holder is None else (holder.who, holder.silent_seconds)


def told_holder(doing: str, holder: str | None, silent_seconds: float | None) -> str:
    """What the holder of a lease is doing, for people, and whether it may have died; empty for nobody."""
    if holder is None or silent_seconds is None:
        return ""
    heard = f"{doing}: {holder}, heard of {format_duration(math.floor(silent_seconds))} ago"
    if silent_seconds <= LEASE_SECONDS:
        return heard
    return f"{heard}; it seems to have died: whoever does it next goes on in its place"
