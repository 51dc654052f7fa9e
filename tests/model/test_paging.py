from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import PaginationInvalid
from registry.model.paging import next_link, parse_n


@pytest.mark.parametrize(
    ("text", "n"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("1", 1),
        ("007", 7),
        ("1000", 1000),
        ("1001", 1000),
        ("100000", 1000),
        ("9" * 5000, 1000),
        ("0" * 5000, 0),
    ],
)
def test_n(text: str | None, n: int | None) -> None:
    assert parse_n(text, maximum=1000) == n


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "abc",
        "1.5",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1e3",
        "0x1",
        "\N{SUPERSCRIPT TWO}",
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_n(text: str) -> None:
    with pytest.raises(PaginationInvalid):
        parse_n(text, maximum=1000)


@given(st.text())
def test_any_n_is_read_or_refused(text: str) -> None:
    try:
        n = parse_n(text, maximum=1000)
    except PaginationInvalid:
        return
    assert n is None or 0 <= n <= 1000


def test_the_link_is_relative_and_escaped() -> None:
    link = next_link("/v2/team/app/tags/list", 2, "1.0")
    assert link == '</v2/team/app/tags/list?n=2&last=1.0>; rel="next"'
    link = next_link("/v2/a/referrers/sha256:ab", None, 'x+y>"; &=', [("artifactType", "a/b+c")])
    target = link.removeprefix("<").removesuffix('>; rel="next"')
    assert not set('>"; +') & set(target)
    assert dict(parse_qsl(urlsplit(target).query)) == {"last": 'x+y>"; &=', "artifactType": "a/b+c"}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_cursor_survives_the_link(last: str) -> None:
    link = next_link("/v2/_catalog", 5, last)
    assert link.isascii()
    target = link[1 : link.index(">")]
    assert dict(parse_qsl(urlsplit(target).query)) == {"n": "5", "last": last}
