"""What a process remembers of upstreams for a while, and asks again after a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError

V = TypeVar("V")

# Causes of which it is remembered that upstreams gave them for an answer.
NEGATIVE = ("absent", "refusing")
_MOST = 50_000


class Memory(Generic[V]):
    """Values that count for `seconds` by the monotonic `clock`, and together `weigh` no more than `most`."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float],
        most: int = _MOST,
        weigh: Callable[[V], int] = lambda _: 1,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def put(self, key: Hashable, value: V) -> None:
        """Remember a value from now on."""
        self.forget(key)
        self._kept[key] = (self._clock() + self._seconds, value)
        self._weight += self._weigh(value)
        while self._weight > self._most:
            self.forget(next(iter(self._kept)))

    def get(self, key: Hashable) -> V | None:
        """The value, None when there is none that counts."""
        until, value = self._kept.get(key, (0.0, None))
        if value is None or self._clock() >= until:
            self.forget(key)
            return None
        return value

    def forget(self, key: Hashable) -> None:
        """Ask again."""
        if key in self._kept:
            self._weight -= self._weigh(self._kept.pop(key)[1])


class Refusals:
    """What upstreams do not have, or do not let us have, for `seconds`.

    What content they did not have makes its repository's tags doubtful, for `doubt_seconds`: those who pushed
    another image under a tag may have deleted the one before.
    """

    def __init__(self, seconds: float, doubt_seconds: float, clock: Callable[[], float]) -> None:
        self._kept = Memory[UpstreamError](seconds, clock)
        self._doubts = Memory[object](doubt_seconds, clock)

    def get(self, name: RepositoryName, what: Hashable) -> UpstreamError | None:
        """What was said of it lately, None if it has to be asked for."""
        return self._kept.get((name, what))

    def note(self, name: RepositoryName, what: Hashable, error: UpstreamError) -> None:
        """Keep in mind what was said of it, a tag or anything by its digest, if it would be said again."""
        if error.cause in NEGATIVE:
            self._kept.put((name, what), error.again())
        if error.cause == "absent" and not isinstance(what, str):
            self._doubts.put(name, object())

    def doubt(self, name: RepositoryName) -> object:
        """Another object whenever something turns out to be gone."""
        return self._doubts.get(name)
