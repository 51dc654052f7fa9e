from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields

import pytest

from registry.work.operations import Context, Operation, Operations, Progress, Result, argument, option


@dataclass(frozen=True, slots=True)
class Asked:
    """An input."""

    name: str = argument("what")
    limit: int = option("how many", default=3)


async def run(asked: Asked, context: Context) -> AsyncIterator[Progress | Result]:
    """A small operation."""
    yield Result((asked.name, context.by))


OPERATION = Operation("noun.verb", "Does it.", "noun.read", False, Asked, run, result=tuple)


def test_an_input_is_an_ordinary_dataclass_that_says_how_it_is_given() -> None:
    assert Asked("x") == Asked(name="x", limit=3)
    assert [field.metadata["place"] for field in fields(Asked)] == ["argument", "option"]
    with pytest.raises(TypeError):
        Asked()


def test_the_table_finds_by_name_and_keeps_the_order() -> None:
    other = Operation("noun.other", "Does that.", "noun.read", False, Asked, run, result=tuple)
    table = Operations([OPERATION, other])
    assert list(table) == [OPERATION, other]
    assert table["noun.verb"] is OPERATION


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match=r"two operations are called noun\.verb"):
        Operations([OPERATION, OPERATION])


async def test_the_storage_is_open_while_the_table_is_entered() -> None:
    journal: list[str] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[None]:
        journal.append("open")
        try:
            yield
        finally:
            journal.append("closed")

    table = Operations([OPERATION], opening)
    assert journal == []
    async with table as entered:
        assert entered is table
        assert journal == ["open"]
    with pytest.raises(KeyError):
        async with table:
            raise KeyError
    assert journal == ["open", "closed"] * 2
