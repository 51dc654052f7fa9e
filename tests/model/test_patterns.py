from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.model.patterns import RepositoryPattern

TABLE = [
    ("team-a", "team-a", True),
    ("team-a", "team-a/x", False),
    ("team-a", "team-ab", False),
    ("team-a/**", "team-a/x", True),
    ("team-a/**", "team-a/x/y/z", True),
    ("team-a/**", "team-a", False),
    ("team-a/**", "team-a-x/y", False),
    ("team-a/**", "x/team-a/y", False),
    ("team-a/*", "team-a/x", True),
    ("team-a/*", "team-a/x/y", False),
    ("team-a/*", "team-a", False),
    ("*", "a", True),
    ("*", "a/b", False),
    ("**", "a", True),
    ("**", "a/b/c", True),
    ("**/app", "app", True),
    ("**/app", "a/b/app", True),
    ("**/app", "a/b/xapp", False),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("a/**/z", "a/b/c/y", False),
    ("a/**/z", "az", False),
    ("a/**/**/z", "a/z", True),
    ("a/**/**", "a", False),
    ("**/**", "a", True),
    ("team-*", "team-a", True),
    ("team-*", "team-", True),
    ("team-*", "team-a/x", False),
    ("*-prod", "web-prod", True),
    ("a*b*c", "axxbyyc", True),
    ("a*b*c", "abc", True),
    ("a*b*c", "abcb", False),
    ("*/*", "a/b", True),
    ("*/*", "a", False),
    ("a.b", "axb", False),
    ("**/x/**/y/**", "x/y/z", True),
    ("**/x/**/y/**", "x/y", False),
    ("**/x/**/y/**", "a/x/b/y/c/d", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), TABLE)
def test_matching(pattern: str, name: str, expected: bool) -> None:
    assert RepositoryPattern(pattern).matches(name) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must not be empty"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        ("a/b**", "must stand alone"),
        ("**a", "must stand alone"),
        ("a/***", "must stand alone"),
        ("Team", "other characters"),
        ("a?", "other characters"),
        ("[ab]", "other characters"),
        ("a\n", "other characters"),
        ("a b", "other characters"),
        ("\u00e9", "other characters"),
        ("a" * 256, "at most 255"),
    ],
)
def test_what_cannot_be_a_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RepositoryPattern(text)


def test_what_is_no_name_does_not_slip_through() -> None:
    assert not RepositoryPattern("team/*").matches("team/x/\n")
    assert not RepositoryPattern("team").matches("team\n")
    assert not RepositoryPattern("team/**").matches("team/")


def test_patterns_are_values() -> None:
    assert RepositoryPattern("a/*") == RepositoryPattern("a/*")
    assert len({RepositoryPattern("a/*"), RepositoryPattern("a/*"), RepositoryPattern("b")}) == 2
    assert str(RepositoryPattern("a/*")) == "a/*"


def naive(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    first, *rest = pattern
    if first == "**":
        shortest = 0 if rest else 1
        return any(naive(rest, name[taken:]) for taken in range(shortest, len(name) + 1))
    if not name:
        return False
    expression = "[a-z/]+" if first == "*" else ".*".join(map(re.escape, first.split("*")))
    return re.fullmatch(expression, name[0]) is not None and naive(rest, name[1:])


@given(
    st.lists(
        st.text("ab*", min_size=1, max_size=5).filter(lambda text: "**" not in text) | st.just("**"),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=7),
)
def test_it_agrees_with_a_naive_matcher(pattern: list[str], name: list[str]) -> None:
    plain = [one for index, one in enumerate(pattern) if pattern[index - 1 : index] != ["**"] or one != "**"]
    assert RepositoryPattern("/".join(pattern)).matches("/".join(name)) is naive(plain, name)


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "**/a/" * 50 + "b", "**/*a*a*a/" * 20 + "b"])
def test_no_pattern_and_name_take_long(pattern: str) -> None:
    assert not RepositoryPattern(pattern).matches("a" * 255)
    assert not RepositoryPattern(pattern).matches("a/" * 127 + "a")
