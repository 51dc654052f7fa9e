from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.errors import BlobUploadInvalid, RangeInvalid
from registry.model.ranges import ByteRange, parse_content_range, parse_range

SIZE = 3000


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ("bytes=0-", [(0, 3000)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=5-9", [(5, 10)]),
        ("bytes=2999-", [(2999, 3000)]),
        ("bytes=10-99999", [(10, 3000)]),
        ("bytes=10-" + "9" * 5000, [(10, 3000)]),
        ("bytes=" + "0" * 5000 + "10-20", [(10, 21)]),
        ("bytes=-1", [(2999, 3000)]),
        ("bytes=-3000", [(0, 3000)]),
        ("bytes=-99999", [(0, 3000)]),
        ("Bytes=5-9", [(5, 10)]),
        ("bytes= 5-9 ", [(5, 10)]),
        # zstd:chunked: one part for each, in the order asked, adjacent and overlapping ones kept apart
        ("bytes=10-19,0-9", [(10, 20), (0, 10)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-9,0-9,5-6", [(0, 10), (0, 10), (5, 7)]),
        ("bytes=0-9, ,20-29,", [(0, 10), (20, 30)]),
        ("bytes=0-9,5000-6000", [(0, 10)]),
        ("bytes=5000-,-5", [(2995, 3000)]),
        ("bytes=-0,1-1", [(1, 2)]),
    ],
)
def test_satisfiable_ranges(header: str, parts: list[tuple[int, int]]) -> None:
    assert parse_range(header, SIZE) == [ByteRange(*part) for part in parts]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=abc",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--5",
        "bytes=1--5",
        "bytes=a-5",
        "bytes=5-a",
        "bytes=0x1-5",
        "bytes=+1-5",
        "bytes=1.0-5",
        "bytes=1 - 5",
        "bytes=0-9,abc",
        "bytes=0-9;10-19",
        "bytes=\N{ARABIC-INDIC DIGIT ONE}-5",
        "bytes:0-9",
        "0-9",
        "foo=1-2",
        "items=0-5",
        "bytes=0-9\n",
    ],
)
def test_headers_to_ignore(header: str | None) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=3000-",
        "bytes=5000-",
        "bytes=5000-6000",
        "bytes=-0",
        "bytes=500-0",
        "bytes=500-499",
        "bytes=5000-4999",
        "bytes=0-9,500-0",
        "bytes=3000-,4000-5000",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_unsatisfiable_ranges_are_told_the_size(header: str) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_range(header, SIZE)
    assert caught.value.headers == {"Content-Range": "bytes */3000"}
    assert caught.value.status == 416


def test_of_an_empty_object() -> None:
    assert parse_range("bytes=0-", 0) is None
    assert parse_range("bytes=-5", 0) is None
    for header in ("bytes=0-0", "bytes=1-", "bytes=-0"):
        with pytest.raises(RangeInvalid):
            parse_range(header, 0)


def test_many_parts() -> None:
    size = 1 << 30
    specs = [f"{start}-{start + 9}" for start in range(0, 20 * 1024, 20)]
    parts = parse_range("bytes=" + ",".join(specs), size)
    assert parts is not None
    assert len(parts) == 1024
    assert parse_range("bytes=" + ",".join(specs * 3), size) is None


def test_overlapping_parts_do_not_amplify() -> None:
    size = 100 << 20
    assert parse_range("bytes=" + ",".join(["0-"] * 8), size) is not None
    assert parse_range("bytes=" + ",".join(["0-"] * 9), size) is None
    # A small object read twice over by pieces is no harm.
    assert parse_range("bytes=" + ",".join(["0-"] * 9), 1000) is not None


@given(st.text() | st.text("bytes=0123456789-, ", max_size=60).map("bytes={}".format), st.integers(0, 5000))
def test_any_header_gives_parts_of_the_object(header: str, size: int) -> None:
    try:
        parts = parse_range(header, size)
    except RangeInvalid as error:
        assert error.headers == {"Content-Range": f"bytes */{size}"}
        return
    if parts is not None:
        assert parts
        assert all(0 <= part.start < part.end <= size for part in parts)


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1, max_size=8))
def test_every_inclusive_pair_inside_is_given_back(pairs: list[tuple[int, int]]) -> None:
    ordered = [(min(pair), max(pair)) for pair in pairs]
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in ordered)
    assert parse_range(header, 1000) == [ByteRange(first, last + 1) for first, last in ordered]


def test_a_range_is_never_backwards() -> None:
    assert len(ByteRange(3, 10)) == 7
    assert len(ByteRange(3, 3)) == 0
    for start, end in ((4, 3), (-1, 3)):
        with pytest.raises(RangeInvalid):
            ByteRange(start, end)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-1023", 0, 1024),
        ("1024-2047", 1024, 2048),
        (" 0-9 ", 0, 10),
        ("bytes 0-9/10", 0, 10),
        ("bytes 0-9/*", 0, 10),
        ("bytes=0-9", 0, 10),
        ("0-9/10", 0, 10),
        ("0--1", 0, 0),
        ("5-4", 5, 5),
    ],
)
def test_content_ranges(header: str, start: int, end: int) -> None:
    assert parse_content_range(header) == ByteRange(start, end)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "-",
        "0-",
        "-5",
        "5",
        "a-b",
        "0-9-10",
        "0 - 9",
        "+0-9",
        "0-0x9",
        "0-9/",
        "0-9/a",
        "bytes */10",
        "bytes  0-9",
        "octets 0-9",
        "0-9,10-19",
        "0-9\n",
        "\n0-9",
        "0--2",
        "0-" + "9" * 30,
        "9" * 5000 + "-1",
        "\N{ARABIC-INDIC DIGIT ONE}-5",
    ],
)
def test_malformed_content_ranges(header: str) -> None:
    with pytest.raises(BlobUploadInvalid):
        parse_content_range(header)


@pytest.mark.parametrize("header", ["5-3", "1--1", "bytes 100-0/200"])
def test_backward_content_ranges(header: str) -> None:
    with pytest.raises(RangeInvalid):
        parse_content_range(header)


@given(st.text() | st.text("bytes 0123456789-/*", max_size=30))
@example("bytes 0-0/0")
def test_any_content_range_is_read_or_refused(header: str) -> None:
    try:
        piece = parse_content_range(header)
    except (BlobUploadInvalid, RangeInvalid):
        return
    assert piece.start <= piece.end


@given(st.integers(0, 10**17), st.integers(1, 10**15))
def test_the_content_range_of_a_piece_reads_back(start: int, size: int) -> None:
    assert parse_content_range(f"{start}-{start + size - 1}") == ByteRange(start, start + size)
