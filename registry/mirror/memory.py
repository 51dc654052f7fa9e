"""What a process remembers of upstreams for a while, and asks again after a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

_MOST = 50_000


class Memory(Generic[V]):
    """Values that count for `seconds`, at most 50,000 of them, by the monotonic `clock`."""

    def __init__(self, seconds: float, clock: Callable[[], float], most: int = _MOST) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def put(self, key: Hashable, value: V) -> None:
        """Remember a value from now on."""
        self._kept[key] = (self._clock() + self._seconds, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def get(self, key: Hashable) -> V | None:
        """The value, None when there is none that counts."""
        until, value = self._kept.get(key, (0.0, None))
        if value is None or self._clock() >= until:
            self._kept.pop(key, None)
            return None
        return value

    def forget(self, key: Hashable) -> None:
        """Ask again."""
        self._kept.pop(key, None)
