"""What other registries say in headers, and what anybody could say there."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.remote.headers import (
    Challenge,
    RateLimit,
    parse_challenges,
    parse_next,
    parse_rate_limit,
    retry_after,
)

WORDS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=8)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
CHALLENGES = st.lists(st.tuples(WORDS, st.dictionaries(WORDS.map(str.lower), TEXTS, min_size=1)), min_size=1)


def written(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class TestChallenges:
    @given(CHALLENGES)
    def test_what_is_written_is_read(self, challenges: list[tuple[str, dict[str, str]]]) -> None:
        header = ", ".join(
            f"{scheme} " + ", ".join(f"{name}={written(value)}" for name, value in parameters.items())
            for scheme, parameters in challenges
        )
        expected = [Challenge(scheme.lower(), parameters) for scheme, parameters in challenges]
        assert parse_challenges(header) == expected

    @given(st.text(st.sampled_from('aB=",\\ \t;:/~'), max_size=40) | st.text())
    def test_of_anything_something_is_made(self, header: str) -> None:
        assert all(one.scheme and one.scheme == one.scheme.lower() for one in parse_challenges(header))

    def test_of_two_values_the_first_counts(self) -> None:
        assert parse_challenges('Bearer realm="a",realm="b"') == [Challenge("bearer", {"realm": "a"})]


class TestLinks:
    @pytest.mark.parametrize(
        ("header", "following"),
        [
            ("", None),
            (" , ", None),
            ('</v2/a?n=1&last=b>; rel="next"', "/v2/a?n=1&last=b"),
            ("</v2/a>;rel=next", "/v2/a"),
            ("</v2/a> ; REL = NEXT", "/v2/a"),
            ('</a>; rel="prev", </b>; rel="next"', "/b"),
            ('</a>; title="x, </c>; rel=next"; rel=prev, </b>; rel="last next"', "/b"),
            ('</a>; rel="next", </b>; rel="next"', "/a"),
            ("</a>", None),
            ('</a>; rel="nexts"', None),
            ("</a,b>; rel=next; crossorigin", "/a,b"),
        ],
    )
    def test_the_next_page_is_found(self, header: str, following: str | None) -> None:
        assert parse_next(header) == following

    @pytest.mark.parametrize(
        "header", ["/v2/a", "</v2/a", '</a>; rel="next', "</a> rel=next", "<<a>>; rel=next"]
    )
    def test_what_is_none_is_refused(self, header: str) -> None:
        with pytest.raises(ValueError, match="it is no list of links"):
            parse_next(header)

    @given(st.text(st.sampled_from('aB=",\\ \t;<>/'), max_size=40) | st.text())
    def test_of_anything_something_is_made(self, header: str) -> None:
        try:
            found = parse_next(header)
        except ValueError:
            return
        assert found is None or f"<{found}>" in header


@pytest.mark.parametrize(
    "header",
    [
        *("a " * 500_000, "a" * 1_000_000, " " * 1_000_000, "a=" * 500_000, 'a b="' + "\\" * 1_000_000),
        *("a " + "b" * 500_000 + "=" * 500_000, "a \t" * 300_000, "<a>," * 250_000, "<a>;b;" * 160_000),
        *("<" * 1_000_000, "</a>" + "; " * 500_000, '<a>;b="' + "\\a" * 500_000),
    ],
    ids=range(12),
)
def test_of_a_long_one_little_is_read(header: str) -> None:
    """However it is made: the loop would stand still for all others."""
    began = time.process_time()
    parse_challenges(header)
    parse_challenges(header[:16384])
    for text in (header, header[:16384]):
        try:
            parse_next(text)
        except ValueError:
            continue
    assert time.process_time() - began < 1


class TestLimits:
    @pytest.mark.parametrize(
        ("limit", "remaining", "found"),
        [
            ("100;w=21600", "76;w=21600", RateLimit(100, 76, 21600)),
            ("100", "0", RateLimit(100, 0, None)),
            (" 100 ; w = 60 ", "7", RateLimit(100, 7, 60)),
            ("100", "", None),
            ("", "7", None),
            ("many", "7", None),
            ("-1", "7", None),
            ("100;w=x", "7", None),
            ("9" * 5000, "7", None),
        ],
    )
    def test_they_are_read(self, limit: str, remaining: str, found: RateLimit | None) -> None:
        headers = {"ratelimit-limit": limit, "ratelimit-remaining": remaining}
        assert parse_rate_limit(headers) == found

    @given(st.text(max_size=40))
    def test_a_wait_is_no_longer_than_an_hour(self, told: str) -> None:
        found = retry_after({"retry-after": told})
        assert found is None or 1 <= found <= 3600
