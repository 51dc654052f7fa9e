from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.cli.rendering import as_json, as_text, table
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.quoting import printable
from registry.work.documents import plain

DIGEST = Digest.of(b"", "sha256")
AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


class Kind(Enum):
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    repository: RepositoryName
    digest: Digest
    kind: Kind
    pushed_at: datetime
    size_bytes: int
    took_seconds: float
    complete: bool
    next: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Names:
    names: list[str]
    next: str | None


REPORT = Report(
    RepositoryName("a/b"), DIGEST, Kind.GOOD, AT, 4 << 20, 90.0, True, None, (Row("x", 1), Row("yy", 2048))
)


@dataclass(frozen=True)
class Chosen:
    """What has a mapping."""

    selection: Mapping[str, Any]


def test_a_mapping_is_told_without_what_is_empty() -> None:
    selection = {"repositories": ["team/**", "x"], "tags": [], "newest": 3, "referrers": True, "\x1b": None}
    assert as_text(Chosen(selection)) == "selection: repositories team/**, x; newest 3; referrers yes"
    assert as_text(Chosen({"\x1b[2J": "\n"})) == "selection: \\x1b[2J \\n"
    assert as_text(Chosen({})) == "selection: -"


def test_json_has_everything_in_plain_kinds() -> None:
    assert json.loads(as_json(REPORT)) == {
        "repository": "a/b",
        "digest": str(DIGEST),
        "kind": "good",
        "pushed_at": "2024-05-06T07:08:09+00:00",
        "size_bytes": 4 << 20,
        "took_seconds": 90.0,
        "complete": True,
        "next": None,
        "rows": [{"name": "x", "size_bytes": 1}, {"name": "yy", "size_bytes": 2048}],
    }


def test_text_is_for_people() -> None:
    assert as_text(REPORT).splitlines() == [
        "repository: a/b",
        f"digest:     {DIGEST}",
        "kind:       good",
        "pushed:     2024-05-06 07:08:09+00:00",
        "size:       4MiB",
        "took:       1m30s",
        "complete:   yes",
        "rows:",
        "  NAME  SIZE",
        "  x     1B",
        "  yy    2KiB",
    ]


def test_a_lone_list_is_an_item_a_line() -> None:
    assert as_text(Names(["a", "b"], None)) == "a\nb"
    assert as_text(Names([], None)) == ""


@dataclasses.dataclass
class Spoken:
    words: str | None
    field: int = 1

    def told(self) -> str | None:
        return self.words


def test_words_of_its_own_come_first_for_people_only() -> None:
    assert as_text(Spoken("a\x1b\nb")) == "a\\x1b\nb"
    assert as_text(Spoken(None)) == "field: 1"
    assert json.loads(as_json(Spoken("a"))) == {"words": "a", "field": 1}


def test_a_terminal_is_given_no_orders() -> None:
    assert as_text(Names(["\x1b[2Jevil\n"], None)) == "\\x1b[2Jevil\\n"


@given(st.text())
def test_whatever_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@given(st.lists(st.tuples(st.text("abc ", max_size=4), st.text("abc", max_size=4)), max_size=4))
def test_columns_are_aligned(rows: list[tuple[str, str]]) -> None:
    lines = table(("A", "B"), rows)
    assert len(lines) == len(rows) + 1
    start = max(len(row[0]) for row in [("A", "B"), *rows]) + 2
    for (_, second), line in zip([("A", "B"), *rows], lines, strict=True):
        assert line[start:] == second


def test_a_column_is_not_as_wide_as_its_widest_cell_where_that_is_too_wide() -> None:
    rows = [("a", "bb", "c"), ("a", "b" * 9, "c"), ("a", "b" * 3, "c")]
    assert table(("A", "B", "C"), rows, widest=3) == [
        "A  B    C",
        "a  bb   c",
        f"a  {'b' * 9}  c",
        "a  bbb  c",
    ]
    assert table(("LONG", "B"), [("a", "b")], widest=3) == ["LONG  B", "a     b"]


def test_plain_leaves_json_alone() -> None:
    value = {"a": [1, 2.5, None, True, "x"]}
    assert plain(value) == value
