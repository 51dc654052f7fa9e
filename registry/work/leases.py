"""Leases: one process at a time does what each could do; that saves work, and nothing relies on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Driver
from storage.errors import AlreadyExists, NotFound

_LIMIT = 4096  # bytes of a beat
_BEAT_SECONDS = 1.0  # at least, between two beats beside work


class LeaseLost(Exception):
    """Another process has taken the work over, after this one was silent for too long."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What the holder of an epoch has last said: who it is, how often it has spoken, whether it has ended."""

    holder: str
    number: int
    released: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """Who says that it holds a lease, when it has said so last, and how long ago that is by our own clock."""

    who: str
    heard: datetime
    silent_seconds: float


class Lease:
    """One process's view of the lease `name`, which is lost after `seconds` of silence.

    A holder writes a beat; whoever sees the same beat for `seconds` by its own `clock` (monotonic) claims the
    next epoch, and one of them gets it. No clock is compared with another's.
    """

    def __init__(
        self,
        driver: Driver,
        effects: Effects,
        name: str,
        *,
        who: str,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._now = effects.now
        self._name = name
        self._who = f"{who} ({effects.unique()})"
        self._seconds = seconds
        self._clock = clock
        self._seen: tuple[str, bytes, float] | None = None
        self._epoch: int | None = None
        self._number = 0
        self._beaten = 0.0
        # Whether the last look saw a holder that has spoken since the look before, or somebody else win.
        self.is_alive = False

    async def acquire(self) -> bool:
        """Look once, and claim the lease if it is free, or its holder has been silent for long enough."""
        epochs = await self._epochs()
        latest = epochs[-1] if epochs else None
        if latest is not None and not await self._is_free(latest):
            return False
        epoch = 1 if latest is None else int(latest) + 1
        try:
            await self._put(epoch, if_absent=True)
        except AlreadyExists:
            self.is_alive = True
            return False
        if await self._is_overtaken(epoch):
            self.is_alive = True
            return False
        self._epoch = epoch
        # The one before stays: whoever has just seen it as the latest must not get this epoch once more.
        await self._driver.delete([self._key(old) for old in epochs[:-1]], durable=False)
        return True

    async def take(self) -> bool:
        """Acquire the lease as soon as that can be; False when its holder is alive."""
        deadline = self._clock() + 2 * self._seconds
        while not await self.acquire():
            if self.is_alive or self._clock() > deadline:
                return False
            await asyncio.sleep(min(1.0, self._seconds / 10))
        return True

    async def is_free(self) -> bool:
        """Look once, and claim nothing."""
        epochs = await self._epochs()
        return not epochs or await self._is_free(epochs[-1])

    @property
    def watched_seconds(self) -> float:
        """For how long it has been seen that its holder says nothing."""
        return 0.0 if self._seen is None else self._clock() - self._seen[2]

    async def holder(self) -> Holder | None:
        """Who says that it holds the lease, dead or alive; None when it is free."""
        epochs = await self._epochs()
        beat = await self._read(epochs[-1]) if epochs else None
        if beat is None or beat.released:
            return None
        try:
            heard = (await self._driver.stat(self._key(epochs[-1]))).modified_at
        except NotFound:
            return None
        return Holder(beat.holder, heard, max(0.0, (self._now() - heard).total_seconds()))

    async def beat(self) -> None:
        """Say that we are alive, if it is time for that. Raises LeaseLost."""
        if self._epoch is None:
            raise LeaseLost(f"the lease {self._name} is not held")
        if self._clock() - self._beaten < self._seconds / 4:
            return
        if await self._is_overtaken(self._epoch):
            # There is nothing left to give back.
            self._epoch = None
            raise LeaseLost(f"another process has taken over the lease {self._name}")
        await self._put(self._epoch)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Say all the time that we are alive; gives what to await between pieces of work.

        That raises LeaseLost. One piece of work may take longer than the silence that is allowed.
        """

        async def beat() -> None:
            while True:
                await asyncio.sleep(max(_BEAT_SECONDS, self._seconds / 4))
                await self.beat()

        beating = asyncio.create_task(beat())

        async def step() -> None:
            if beating.done():
                await beating
            await self.beat()

        try:
            yield step
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def release(self) -> None:
        """Let others have it at once."""
        if self._epoch is not None:
            await self._put(self._epoch, released=True)
            self._epoch = None

    async def end(self) -> None:
        """Let the lease be as if it had never been: what it was for is done, and is not done again."""
        if self._epoch is not None:
            self._epoch = None
            epochs = await self._epochs()
            await self._driver.delete([self._key(epoch) for epoch in epochs], durable=False)

    async def _is_free(self, epoch: str) -> bool:
        try:
            content = await self._driver.get(self._key(epoch), limit=_LIMIT)
        except NotFound:
            return False
        beat = _parse(content)
        if beat is not None and beat.released:
            return True
        if self._seen is None or self._seen[:2] != (epoch, content):
            self.is_alive = self._seen is not None
            self._seen = (epoch, content, self._clock())
            return False
        return self._clock() - self._seen[2] >= self._seconds

    async def _is_overtaken(self, epoch: int) -> bool:
        return (await self._epochs())[-1:] != [f"{epoch:020d}"]

    async def _epochs(self) -> list[str]:
        names = await self._driver.children(layout.leases(self._name))
        return [name for name in names if len(name) == 20 and name.isdecimal()]

    def _key(self, epoch: str) -> str:
        return f"{layout.leases(self._name)}/{epoch}"

    async def _read(self, epoch: str) -> Beat | None:
        try:
            return _parse(await self._driver.get(self._key(epoch), limit=_LIMIT))
        except NotFound:
            return None

    async def _put(self, epoch: int, *, released: bool = False, if_absent: bool = False) -> None:
        self._number += 1
        self._beaten = self._clock()
        beat = {"holder": self._who, "number": self._number, "released": released}
        # A power cut ends the holder, too.
        await self._driver.put(
            self._key(f"{epoch:020d}"),
            json.dumps(beat).encode(),
            if_absent=if_absent,
            durable=False,
        )


async def forget_lease(driver: Driver, name: str, before: float) -> int:
    """Remove epochs whose holder has not spoken since a time by the store's clock, in seconds; how many."""
    old = []
    async for key in driver.walk(layout.leases(name)):
        with suppress(NotFound):
            if (await driver.stat(key)).modified_at.timestamp() < before:
                old.append(key)
    if old:
        await driver.delete(old, durable=False)
    return len(old)


def _parse(content: bytes) -> Beat | None:
    try:
        beat = json.loads(content)
        return Beat(str(beat["holder"]), int(beat["number"]), bool(beat["released"]))
    except (ValueError, KeyError, TypeError):
        return None
