from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.work.documents import plain, read_plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Part:
    name: RepositoryName
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Whole:
    digest: Digest
    parts: list[Part]
    pair: tuple[str, ...]
    counts: Mapping[str, int]
    share: float
    colour: Colour
    state: Literal["on", "off"]
    deep: bool


WHOLE = Whole(
    Digest.of(b""),
    [Part(RepositoryName("a"), datetime(2026, 1, 2, tzinfo=UTC)), Part(RepositoryName("b"), None)],
    ("x", "y"),
    {"n": 1},
    0.5,
    Colour.RED,
    "on",
    True,
)


def test_a_record_comes_back_from_json_as_it_was() -> None:
    read = read_plain(Whole, json.loads(json.dumps(plain(WHOLE))))
    assert read == WHOLE
    assert isinstance(read.parts[0].name, RepositoryName)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digest", "x"),
        ("digest", 1),
        ("parts", {}),
        ("parts", [{"name": "a"}]),
        ("parts", [{"name": "A", "at": None}]),
        ("parts", [{"name": "a", "at": "yesterday"}]),
        ("pair", "xy"),
        ("counts", {"n": "1"}),
        ("counts", [1]),
        ("share", "0.5"),
        ("share", True),
        ("colour", "green"),
        ("state", "maybe"),
        ("deep", 1),
        ("deep", None),
    ],
)
def test_another_kind_of_value_is_none_of_it(name: str, value: object) -> None:
    document: Any = plain(WHOLE)
    with pytest.raises(ValueError, match=r"\w"):
        read_plain(Whole, {**document, name: value})


def test_what_another_version_says_besides_is_left_out() -> None:
    document: Any = plain(WHOLE)
    assert read_plain(Whole, {**document, "more": 1}) == WHOLE
    with pytest.raises(ValueError, match="Whole lacks deep"):
        read_plain(Whole, {name: value for name, value in document.items() if name != "deep"})
