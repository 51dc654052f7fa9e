from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import DigestInvalid
from registry.model.digests import Digest, DigestCheck, Hashing
from storage.contract import Check

HEX = "0123456789abcdef" * 4
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

MALFORMED = [
    "",
    ":",
    "sha256",
    "sha256:",
    f":{HEX}",
    f"sha256:{HEX}\n",
    f"\nsha256:{HEX}",
    f"sha256:{HEX} ",
    f"sha256:{HEX}\0",
    f"sha256\0:{HEX}",
    f"sha256:{HEX[:-1]}",
    f"sha256:{HEX}0",
    f"sha256:{HEX.upper()}",
    f"sha256:{HEX[:-1]}g",
    f"sha256:{HEX[:-1]}\N{ARABIC-INDIC DIGIT ONE}",
    f"sha256:{HEX[:-1]}\N{FULLWIDTH DIGIT ONE}",
    f"sha512:{HEX}",
    f"blake3:{HEX}{HEX}",
    f"SHA256:{HEX}",
    f"sha256:{HEX}:{HEX}",
    f"sha256::{HEX}",
    f"sha256%3A{HEX}",
    f"sha256-{HEX}",
    "sha256:../../../../etc/passwd",
    "sha256:baddigest",
    "md5:" + "a" * 252,
    "md5:" + "a" * 300,
    "a" * 300 + ":b",
    "md5:a/b",
    "md5:a.b",
    "md5/x:ab",
    "..:ab",
    "+md5:ab",
    "md5+:ab",
    "md5++x:ab",
    "md5:\u00e9",
    "md5:ab\n",
    "md5\n:ab",
    "md5:ab cd",
    "md5:%0A",
    "md5:\ud800",
]

WELL_FORMED = [
    EMPTY,
    f"sha256:{HEX}",
    f"sha512:{HEX}{HEX}",
    f"blake3:{HEX}",
    "sha384:abc",
    "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
    "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
    "a.b_c-d+e:=_-",
    "md5:" + "a" * 251,
]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_breaks_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@pytest.mark.parametrize("text", WELL_FORMED)
def test_what_fits_the_grammar_is_kept_as_it_is(text: str) -> None:
    assert str(Digest.parse(text)) == text


def test_the_constructor_checks_too() -> None:
    with pytest.raises(DigestInvalid):
        Digest("sha256", "abc")
    with pytest.raises(DigestInvalid):
        Digest("md5:x", "abc")


def test_the_error_shows_what_was_sent_escaped_and_short() -> None:
    with pytest.raises(DigestInvalid, match="hex digits, not 'latest'"):
        Digest.parse("latest")
    with pytest.raises(DigestInvalid, match=r"64 of them, not 'sha256:x\\n'"):
        Digest.parse("sha256:x\n")
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse("sha256:" + "x" * 100_000)
    assert len(caught.value.message) < 300


@given(st.text())
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except DigestInvalid:
        return
    assert str(digest) == text


@given(st.from_regex(r"[a-z0-9]{1,9}([+._-][a-z0-9]{1,9}){0,3}:[a-zA-Z0-9=_-]{1,99}", fullmatch=True))
def test_the_grammar_is_accepted_but_for_registered_algorithms(text: str) -> None:
    if text.partition(":")[0] not in ("sha256", "sha512", "blake3"):
        assert str(Digest.parse(text)) == text


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_of_is_the_hash(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)
    assert str(digest) == f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    assert Digest.parse(str(digest)) == digest
    hasher = digest.hasher()
    hasher.update(content)
    assert hasher.hexdigest() == digest.encoded


def test_digests_are_keys_and_have_an_order() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert len({one, two, Digest.parse(str(one))}) == 2
    assert sorted([two, one], key=str) == sorted([two, one])


@pytest.mark.parametrize("text", [f"blake3:{HEX}", "sha384:abc", "md5:abc"])
def test_an_unsupported_algorithm_is_named_with_the_supported_ones(text: str) -> None:
    digest = Digest.parse(text)
    assert not digest.supported
    expected = rf"by sha256 and sha512, not by '{digest.algorithm}'"
    with pytest.raises(DigestInvalid, match=expected):
        digest.require_supported()
    with pytest.raises(DigestInvalid, match=expected):
        digest.hasher()
    with pytest.raises(DigestInvalid, match=expected):
        Digest.of(b"", digest.algorithm)
    with pytest.raises(DigestInvalid, match=expected):
        DigestCheck(digest)
    with pytest.raises(DigestInvalid, match=expected):
        Hashing("sha256", digest.algorithm)


def test_a_supported_algorithm_passes() -> None:
    digest = Digest.parse(EMPTY)
    assert digest.supported
    assert digest.require_supported() is digest


@given(st.lists(st.binary()), st.sampled_from(["sha256", "sha512"]))
def test_the_check_passes_bytes_of_the_digest(pieces: list[bytes], algorithm: str) -> None:
    content = b"".join(pieces)
    check = DigestCheck(Digest.of(content, algorithm))
    for piece in pieces:
        check.update(memoryview(piece))
    check.finish()
    assert check.size_bytes == len(content)
    assert check.digest == Digest.of(content, algorithm)


def test_the_check_refuses_other_bytes_and_names_both_digests() -> None:
    wanted, sent = Digest.of(b"wanted"), Digest.of(b"sent")
    check: Check = DigestCheck(wanted)
    check.update(b"se")
    check.update(bytearray(b"nt"))
    with pytest.raises(DigestInvalid, match=f"4 bytes received .* {sent}, not {wanted}") as caught:
        check.finish()
    assert caught.value.detail == {"expected": str(wanted), "received": str(sent)}


def test_hashing_computes_what_it_is_asked_for() -> None:
    hashing = Hashing("sha256", "sha512")
    check: Check = hashing
    check.update(b"some ")
    check.update(b"bytes")
    check.finish()
    assert hashing.digest("sha256") == Digest.of(b"some bytes")
    assert hashing.digest("sha512") == Digest.of(b"some bytes", "sha512")
    assert hashing.size_bytes == 10
