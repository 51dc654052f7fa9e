"""Many small works at once, a bounded number of them, with a moment to tell how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")

_TELL_SECONDS = 0.5


async def spread(
    items: AsyncIterator[T], work: Callable[[T], Coroutine[None, None, None]], *, width: int
) -> AsyncGenerator[None, None]:
    """Do `work` for each item, `width` at once; yields now and then, and after the last.

    Raises the first error of any, after all that are under way have ended.
    """
    running: set[asyncio.Task[None]] = set()
    try:
        async for item in items:
            running.add(asyncio.create_task(work(item)))
            while len(running) >= width:
                running = await _some(running)
                yield
        while running:
            running = await _some(running)
            yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    yield


async def _some(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Those that are still under way when one has ended, or a moment has passed."""
    done, left = await asyncio.wait(running, timeout=_TELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    try:
        for task in done:
            task.result()
    except BaseException:
        running -= done
        for task in done:
            if not task.cancelled():
                task.exception()
        raise
    return left


async def merged(
    here: AsyncIterator[str], there: AsyncIterator[str]
) -> AsyncIterator[tuple[str, bool, bool]]:
    """Every key of two listings in byte order, each with whether it is in the one and in the other."""
    one, other = await anext(here, None), await anext(there, None)
    while one is not None or other is not None:
        key = min((name for name in (one, other) if name is not None), key=str.encode)
        yield key, one == key, other == key
        if one == key:
            one = await anext(here, None)
        if other == key:
            other = await anext(there, None)
