from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import DigestInvalid, NameInvalid, TagInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, parse_reference, referrers_tag, subject_of

HEX = "0123456789abcdef" * 4

BAD_NAMES = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/.",
    "a/..",
    "a/../b",
    "../a",
    "a..b",
    "a.",
    ".a",
    "_a",
    "a_",
    "-a",
    "a-",
    "a/-b",
    "a___b",
    "a._b",
    "a_-b",
    "a.-b",
    "_catalog",
    "a/_layers",
    "Foo",
    "fOO/bar",
    "a b",
    " a",
    "a ",
    "a\n",
    "a\nb",
    "\na",
    "a\r",
    "a\0",
    "a\0b",
    "a%0A",
    "a%2Fb",
    "a:b",
    "a@b",
    "a\\b",
    "a*",
    "a?b",
    "\u00e9",
    "caf\u00e9",
    "a\N{ARABIC-INDIC DIGIT ONE}",
    "a\N{FULLWIDTH LATIN SMALL LETTER B}",
    "a\N{LATIN SMALL LETTER LONG S}",
    "a\ud800",
    "a" * 256,
    "a/" * 150 + "a",
]

GOOD_NAMES = [
    "a",
    "0",
    "a/b",
    "library/ubuntu",
    "a.b_c__d-e--f---g",
    "manifests",
    "blobs/uploads",
    "tags/list",
    "a/referrers",
    "v2",
    "1/2/3/4",
    "a" * 255,
    "a/" * 127 + "a",
]

BAD_TAGS = [
    "",
    ".",
    "..",
    ".a",
    "-a",
    "a/b",
    "../a",
    "a b",
    " a",
    "a ",
    "a\n",
    "x\n",
    "\n",
    "a\r\n",
    "a\0",
    "a%0A",
    "a+b",
    "a:b",
    "a@b",
    "a\\b",
    "\u00e9",
    "a\N{ARABIC-INDIC DIGIT ONE}",
    "\ud800",
    "a" * 129,
    "a" * 300,
]

GOOD_TAGS = ["a", "_", "latest", "Latest", "1.0.0", "v1..2", "a-", "_.", "sha256-abc.sig", "0", "a" * 128]


@pytest.mark.parametrize("text", BAD_NAMES)
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName(text)


@pytest.mark.parametrize("text", GOOD_NAMES)
def test_good_names_are_texts(text: str) -> None:
    name = RepositoryName(text)
    assert name == text
    assert isinstance(name, str)


@pytest.mark.parametrize("text", BAD_TAGS)
def test_bad_tags_are_refused(text: str) -> None:
    with pytest.raises(TagInvalid):
        Tag(text)


@pytest.mark.parametrize("text", GOOD_TAGS)
def test_good_tags_are_texts(text: str) -> None:
    assert Tag(text) == text
    assert parse_reference(text) == Tag(text)


@given(st.text() | st.text("ab0._-/\n", max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = RepositoryName(text)
    except NameInvalid:
        return
    assert name == text
    # What the layout builds on: no segment can be taken for one of ours, for a dot or for nothing.
    for segment in name.split("/"):
        assert segment
        assert segment[0] not in "._-"
        assert segment[-1] not in "._-"
        assert segment.isascii()


@given(st.text() | st.text("aB0._-/:\n", max_size=140))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except DigestInvalid:
        assert ":" in text
    except TagInvalid:
        assert ":" not in text
    else:
        assert str(reference) == text
        assert isinstance(reference, Digest) == (":" in text)


def test_a_long_name_is_told_its_length_not_shown_whole() -> None:
    with pytest.raises(NameInvalid, match="at most 255 characters, not 70000"):
        RepositoryName("a" * 70_000)


def test_a_refused_name_is_shown_escaped() -> None:
    with pytest.raises(NameInvalid, match=r"not 'x\\n'"):
        RepositoryName("x\n")


@pytest.mark.parametrize(
    ("digest", "tag"),
    [
        (f"sha256:{HEX}", f"sha256-{HEX}"),
        (f"sha512:{HEX}{HEX}", f"sha512-{HEX}"),
        ("multihash+base58:Qm=x", "multihash-base58-Qm-x"),
        ("a" * 40 + ":b", "a" * 32 + "-b"),
    ],
)
def test_the_referrers_tag(digest: str, tag: str) -> None:
    assert referrers_tag(Digest.parse(digest)) == tag


@given(st.from_regex(r"[a-z0-9]{1,40}([+._-][a-z0-9]{1,9}){0,3}:[a-zA-Z0-9=_-]{1,99}", fullmatch=True))
def test_every_digest_has_a_referrers_tag(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except DigestInvalid:
        return
    assert len(referrers_tag(digest)) <= 97


def test_only_such_a_tag_says_that_it_belongs_to_a_manifest() -> None:
    for tag in ("latest", "sha256-abc", f"sha256-{'g' * 64}", f"sha512-{'a' * 64}", f"sha256-{'a' * 64}x"):
        assert subject_of(tag) is None
    assert subject_of(referrers_tag(Digest("sha256", HEX))) == Digest("sha256", HEX)
