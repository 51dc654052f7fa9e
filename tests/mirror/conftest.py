"""A namespace on a registry in memory, before an upstream in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.inmemory import World
from tests.mirror.shelf import Around, Shelf


@pytest.fixture
async def around() -> AsyncIterator[Callable[..., Around]]:
    made: list[Around] = []

    def make(world: World | None = None, **settings: Any) -> Around:
        made.append(Around(world or World(), Shelf(), **settings))
        return made[-1]

    yield make
    for one in made:
        await one.mirror.aclose()
