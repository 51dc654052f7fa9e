from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.model.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1B", 1),
        ("4MiB", 4 << 20),
        ("4 MiB", 4 << 20),
        ("1.5GiB", 3 << 29),
        ("2TiB", 2 << 40),
        ("1KiB", 1024),
        ("1kB", 1000),
        ("1MB", 1_000_000),
        ("1.5GB", 1_500_000_000),
        ("1TB", 10**12),
        (0, 0),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4G", "'G': write GiB or GB"),
        ("4g", "'g': write GiB or GB"),
        ("4K", "'K': write KiB or kB"),
        ("4KB", "'KB': write kB"),
        ("4mib", "'mib': write MiB"),
        ("4", "has no unit"),
        ("4.0", "has no unit"),
        ("4XB", "units are B, KiB"),
        ("0.5B", "whole number of bytes"),
        ("", "number with a unit"),
        ("MiB", "number with a unit"),
        ("-1MiB", "number with a unit"),
        ("+1MiB", "number with a unit"),
        ("1e3MiB", "number with a unit"),
        ("1MiB\n", "number with a unit"),
        ("1  MiB", "number with a unit"),
        (".5MiB", "number with a unit"),
        ("\N{ARABIC-INDIC DIGIT ONE}MiB", "number with a unit"),
        ("9" * 5000 + "B", "number with a unit"),
        (-1, "0 or more"),
        (True, "0 or more"),
    ],
)
def test_what_is_no_size_is_refused(text: str | int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (4 << 20, "4MiB"), (5 << 40, "5TiB")],
)
def test_formatted_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**15))
def test_a_formatted_size_can_be_read_and_is_about_right(size: int) -> None:
    text = format_size(size)
    number, unit = text.rstrip("BKiMGT"), text.lstrip("0123456789.")
    assert abs(float(number) * parse_size(f"1{unit}") - size) <= size / 100


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("500ms", 0.5),
        ("90s", 90),
        ("20m", 1200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1w1d1h1m1s1ms", 694_861.001),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "number with a unit"),
        ("7", "number with a unit"),
        (7, "number with a unit"),
        (1.5, "number with a unit"),
        ("d", "number with a unit"),
        ("-1d", "number with a unit"),
        ("1d ", "number with a unit"),
        ("1d\n", "number with a unit"),
        ("1 d", "number with a unit"),
        ("1D", "number with a unit"),
        ("1.d", "number with a unit"),
        ("\N{ARABIC-INDIC DIGIT ONE}d", "number with a unit"),
        ("9" * 5000 + "d", "number with a unit"),
        ("7days", "'days'; units are w, d, h, m, s and ms"),
        ("5y", "'y'; units are"),
        ("30m1h", "from large units to small"),
        ("1h1h", "from large units to small"),
    ],
)
def test_what_is_no_duration_is_refused(text: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (0.25, "250ms"),
        (90, "1m30s"),
        (604_800, "7d"),
        (5400, "1h30m"),
        (-60, "-1m"),
    ],
)
def test_formatted_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**12))
def test_a_formatted_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text() | st.text("0123456789.KMGiBsmhdw ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "size" in str(error) or "duration" in str(error)
