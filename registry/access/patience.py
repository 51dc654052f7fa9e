"""Failed logins make further ones slower, by account and by address, and lock nobody out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from registry.access.people import folded
from registry.errors import TooManyRequests

_REMEMBERED = 20_000
_HALF_LIFE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 15.0

Key = tuple[str, str]


@dataclass(slots=True)
class _Failures:
    count: float
    at: float
    # When the next attempt may be made.
    next_at: float


@dataclass(frozen=True, slots=True)
class _Pace:
    """After `free` failures each attempt waits `seconds`, twice as long after each `doubling` more."""

    free: float
    doubling: float
    seconds: float
    most_seconds: float

    def delay(self, failures: float) -> float:
        if failures < self.free:
            return 0.0
        return float(min(self.most_seconds, self.seconds * 2 ** ((failures - self.free) / self.doubling)))


# Somebody who tries one account from one address; one address that tries many accounts (behind which there
# may be a whole company); one account that is tried from everywhere, whose owner must get in all the same.
_PACES = {
    "both": _Pace(3, 1, 0.5, 10.0),
    "address": _Pace(20, 10, 0.1, 2.0),
    "name": _Pace(20, 20, 0.1, 1.0),
}


class Patience:
    """What one process remembers of failed logins, bounded and forgotten by and by.

    Attempts wait for their turn one after the other, so that many at once are no faster.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()

    async def wait(self, name: str, address: str) -> float:
        """Wait until a password may be tried; for how many seconds. Raises TooManyRequests where long."""
        now = self._clock()
        at = now
        held = []
        for key, pace in self._keys(name, address):
            failures = self._failures.get(key)
            if failures is None:
                continue
            delay = pace.delay(_faded(failures, now))
            if delay:
                held.append((failures, delay))
                at = max(at, failures.next_at)
        if at - now > _LONGEST_WAIT_SECONDS:
            raise TooManyRequests(
                "too many logins have failed for this name or from this address; try again later",
                headers={"Retry-After": str(int(at - now) + 1)},
            )
        for failures, delay in held:
            failures.next_at = max(failures.next_at, at) + delay
        if at > now:
            await self._sleep(at - now)
        return at - now

    def failed(self, name: str, address: str) -> None:
        """A login has failed."""
        now = self._clock()
        for key, pace in self._keys(name, address):
            failures = self._failures.pop(key, None) or _Failures(0.0, now, now)
            failures.count, failures.at = _faded(failures, now) + 1, now
            if failures.next_at <= now:
                failures.next_at = now + pace.delay(failures.count)
            self._failures[key] = failures
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """A login has succeeded: whoever it was knows the password, and may mistype it again."""
        self._failures.pop(("both", f"{folded(name)}\n{address}"), None)

    def _keys(self, name: str, address: str) -> list[tuple[Key, _Pace]]:
        name = folded(name)
        return [
            (("both", f"{name}\n{address}"), _PACES["both"]),
            (("address", address), _PACES["address"]),
            (("name", name), _PACES["name"]),
        ]


def _faded(failures: _Failures, now: float) -> float:
    return float(failures.count * 0.5 ** ((now - failures.at) / _HALF_LIFE_SECONDS))
