"""Sizes and durations as people write them: always with a unit."""

from __future__ import annotations

import re
from decimal import Decimal

from registry.model.quoting import quoted

_SIZE_UNITS = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_BINARY_UNITS = ("TiB", "GiB", "MiB", "KiB")
_MILLISECONDS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?[a-z]+)+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9.]+)([a-z]+)", re.ASCII)


def parse_size(value: str | int) -> int:
    """The number of bytes in `4MiB`, `1.5 GB` or the like; an int is bytes already. Raises ValueError."""
    if isinstance(value, int):
        if isinstance(value, bool) or value < 0:
            raise ValueError(f"a size is a number of bytes, 0 or more, or a text like '4MiB', not {value!r}")
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(f"a size is a number with a unit, like '4MiB', not {quoted(value)}")
    factor = _SIZE_UNITS.get(match[2])
    if factor is None:
        raise ValueError(f"the size {quoted(value)} {_unit_advice(match[2])}")
    size = Decimal(match[1]) * factor
    if size != int(size):
        raise ValueError(f"the size {quoted(value)} is not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """A size for people, in the largest binary unit that it fills, to two decimals: `4MiB`, `1.5GiB`."""
    for unit in _BINARY_UNITS:
        if size_bytes >= _SIZE_UNITS[unit]:
            return f"{_short(size_bytes / _SIZE_UNITS[unit])}{unit}"
    return f"{size_bytes}B"


def parse_duration(value: str | float) -> float:
    """The seconds in `7d`, `1h30m`, `500ms` or the like; never a bare number. Raises ValueError."""
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        shown = quoted(value) if isinstance(value, str) else repr(value)
        raise ValueError(f"a duration is a number with a unit, like '90s', '1h30m' or '7d', not {shown}")
    units = list(_MILLISECONDS)
    total = Decimal(0)
    for number, unit in _DURATION_PART.findall(value):
        if unit not in _MILLISECONDS:
            raise ValueError(
                f"the duration {quoted(value)} has the unit {quoted(unit)}; units are w, d, h, m, s and ms"
            )
        if unit not in units:
            raise ValueError(f"the duration {quoted(value)} must go from large units to small, each once")
        del units[: units.index(unit) + 1]
        total += Decimal(number) * _MILLISECONDS[unit]
    return float(total / 1000)


def format_duration(seconds: float) -> str:
    """A duration for people, to the millisecond, which `parse_duration` understands: `7d`, `1h30m`."""
    left = round(abs(seconds) * 1000)
    parts = []
    for unit, factor in list(_MILLISECONDS.items())[1:]:
        count, left = divmod(left, factor)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds < 0 and parts else "") + ("".join(parts) or "0s")


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _unit_advice(unit: str) -> str:
    if not unit:
        return "has no unit: write B, KiB, MiB, GiB or TiB behind the number"
    near = [known for known in _SIZE_UNITS if known.casefold().startswith(unit.casefold()) and known != "B"]
    if near:
        return f"has the unit {quoted(unit)}: write {' or '.join(near)}"
    return f"has the unit {quoted(unit)}; units are {', '.join(_SIZE_UNITS)}"
