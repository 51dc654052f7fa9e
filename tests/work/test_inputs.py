# ruff: noqa: RUF009 (argument() and option() make dataclass fields)
from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.units import parse_duration
from registry.work.inputs import WrongInput, fields, read_input, written_input
from registry.work.operations import argument, option


class Span(timedelta):
    """A length of time."""

    @classmethod
    def parse(cls, text: str) -> Span:
        return cls(seconds=parse_duration(text))


class Count(int):
    """A number."""

    @classmethod
    def parse(cls, text: str) -> Count:
        if int(text) < 1:
            raise ValueError("must be 1 or more")
        return cls(text)


class Words(tuple[str, ...]):
    """Words that commas join."""

    @classmethod
    def parse(cls, text: str) -> Words:
        return cls(text.split(","))

    def __str__(self) -> str:
        return ",".join(self)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Everything:
    repository: RepositoryName = argument("the repository")
    more: tuple[RepositoryName, ...] = argument("others", default=())
    password: str = option("a password", secret=True)
    digest: Digest | None = option("a digest", default=None)
    span: Span | None = option("a time", default=None)
    count: Count = option("how many", default=Count(1))
    share: float = option("how much", default=0.5)
    words: Words = option("words", default=Words())
    colour: Colour = option("which", default=Colour.RED)
    state: Literal["on", "off"] = option("which", default="on")
    deep: bool = option("thoroughly", default=False)
    file: Path | None = option("a file", default=None, local=True)


FULL = Everything(
    RepositoryName("a/b"),
    (RepositoryName("c"),),
    password="x",
    digest=Digest.of(b""),
    span=Span(hours=36),
    count=Count(3),
    share=2,
    words=Words(("x", "y")),
    colour=Colour.BLUE,
    state="off",
    deep=True,
)


def test_what_is_written_reads_back_the_same() -> None:
    written = written_input(FULL)
    assert written == {
        "repository": "a/b",
        "more": ["c"],
        "password": "x",
        "digest": str(Digest.of(b"")),
        "span": "1d12h",
        "count": 3,
        "share": 2.0,
        "words": "x,y",
        "colour": "blue",
        "state": "off",
        "deep": True,
    }
    read = read_input(Everything, written)
    assert read == FULL
    assert [type(one) for one in (read.repository, read.span, read.count)] == [RepositoryName, Span, Count]


def test_what_is_as_it_is_by_default_is_not_written() -> None:
    least = Everything(RepositoryName("a"), password="x")
    assert written_input(least) == {"repository": "a", "password": "x"}
    assert read_input(Everything, {"repository": "a", "password": "x", "digest": None}) == least


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", 0, "must be 1 or more"),
        ("count", "3", "must be a whole number"),
        ("count", 1.0, "must be a whole number"),
        ("count", True, "must be a whole number"),
        ("count", None, "must be a whole number"),
        ("share", "1", "must be a number"),
        ("share", False, "must be a number"),
        ("deep", 1, "must be true or false"),
        ("deep", "true", "must be true or false"),
        ("colour", "green", "must be one of red, blue"),
        ("state", "maybe", "must be one of on, off"),
        ("span", "1", "a duration is a number with a unit"),
        ("digest", "sha256:x", ""),
        ("more", "a", "must be a list"),
        ("more", [["a"]], "must be a text"),
        ("repository", "A", "a repository name is made of"),
        ("password", "", "must not be empty"),
        ("file", "/etc/passwd", "this is done on the machine of the store only"),
    ],
)
def test_what_does_not_fit_is_told_by_its_field(name: str, value: object, message: str) -> None:
    document = {"repository": "a", "password": "x", name: value}
    with pytest.raises(WrongInput) as raised:
        read_input(Everything, document)
    ((wrong, told),) = raised.value.problems
    assert wrong == name
    assert told.startswith(message)


def test_all_fields_are_described() -> None:
    known = {field.name: field for field in fields(Everything)}
    assert [name for name, field in known.items() if field.required] == ["repository", "password"]
    assert [name for name, field in known.items() if field.secret] == ["password"]
    assert [name for name, field in known.items() if field.local] == ["file"]
    assert [name for name, field in known.items() if field.many] == ["more"]
    assert known["colour"].choices == ("red", "blue")
    assert known["state"].choices == ("on", "off")
    kinds = {name: known[name].json for name in ("words", "count", "share", "deep", "span")}
    assert kinds == {
        "words": "string",
        "count": "integer",
        "share": "number",
        "deep": "boolean",
        "span": "string",
    }


@dataclass(frozen=True, slots=True)
class WithPath:
    file: Path = argument("a file")


def test_a_path_means_something_on_one_machine_only() -> None:
    with pytest.raises(TypeError, match="make it local"):
        fields(WithPath)


def test_an_option_without_a_default_is_required() -> None:
    @dataclass(frozen=True, slots=True)
    class Required(Nothing):
        name: str = option("a name")

    assert [field.required for field in fields(Required)] == [True]
    with pytest.raises(WrongInput, match="name: this field is required"):
        read_input(Required, {})


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


def test_a_secret_is_required_and_does_not_show() -> None:
    with pytest.raises(TypeError, match="a secret has no default"):
        option("a password", default="", secret=True)
    with pytest.raises(TypeError, match="what is local has a default"):
        option("a thing", local=True)
    assert "password" not in repr(FULL)
