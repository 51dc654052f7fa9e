"""What the tests of the contract work with: looks past the driver, streams, checks that refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from storage.contract import Driver

MIB = 1 << 20

BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".tmp-a", "a/.tmp-b",
    "a/.tmp-b/c", "a b", "a\n", "a\0b", "ä", "a\\b", "a:b", "a%2fb", "a*",
]  # fmt: skip
GOOD_KEYS = ["a", "a/b", "...", "-", "_", "a..", "..a", ".a", ".tmp", "x.tmp-1", "A/a/0._-", "a" * 200]


class Probe(Protocol):
    """Looks past the driver at what is really stored, and puts things there."""

    def get(self, key: str) -> bytes | None:
        """The bytes under a key, None when nothing is there."""

    def set(self, key: str, data: bytes) -> None:
        """Put bytes under a key."""

    def names(self) -> frozenset[str]:
        """Everything that is stored, unfinished things included."""


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """An iterator for `write`."""
    for piece in data:
        yield piece


async def read(driver: Driver, key: str, start: int = 0, end: int | None = None) -> bytes:
    """A range by way of `open`."""
    async with driver.open(key, start, end) as opened:
        return b"".join([piece async for piece in opened.chunks()])


async def walked(driver: Driver, prefix: str, after: str = "") -> list[str]:
    """The keys of a walk."""
    return [key async for key in driver.walk(prefix, after=after)]


class Recorder:
    """A check that remembers what it was shown, and does at the end what it is told."""

    def __init__(self, at_the_end: Callable[[], None] = lambda: None) -> None:
        self.seen: list[bytes] = []
        self.finished = 0
        self._at_the_end = at_the_end

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        """Remember."""
        self.seen.append(bytes(piece))

    def finish(self) -> None:
        """Do it."""
        self.finished += 1
        self._at_the_end()


class Refused(Exception):
    """What a check or an iterator of these tests raises."""


def refuse() -> None:
    """A verdict."""
    raise Refused


async def outcomes(*calls: Awaitable[object]) -> list[object]:
    """What became of calls made at the same time."""
    return await asyncio.gather(*calls, return_exceptions=True)


class DriverTests:
    """Subclasses provide the fixtures `driver` and `probe`."""

    @pytest.fixture
    def driver(self) -> Driver:
        """The driver under test, ready for use and empty."""
        raise NotImplementedError

    @pytest.fixture
    def probe(self) -> Probe:
        """A look at its store."""
        raise NotImplementedError
