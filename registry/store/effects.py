"""What the world gives to store, removal and core: time, chance, company and a second thread.

These rooms await only the driver and what stands here, so that a test can drive the real coroutines through
every interleaving.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ParamSpec, Protocol, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Together(Protocol):
    """Awaits all of several coroutines; their results in order, or the first error after all have ended."""

    def __call__(self, coroutines: Iterable[Coroutine[Any, Any, T]], /) -> Awaitable[list[T]]: ...


class Aside(Protocol):
    """Runs a pure, slow function (hashing, parsing) where it does not hold up the event loop."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Effects:
    """The injected world: `now` is aware UTC, `unique` gives a fresh random UUID as text.

    `turn` is to be held while something is read that is in memory whole before its size is known; so few may
    at once. It raises Unavailable for who has waited for too long, as behind a store that hangs.
    """

    now: Callable[[], datetime]
    unique: Callable[[], str]
    together: Together
    aside: Aside
    turn: Callable[[], AbstractAsyncContextManager[None]]
