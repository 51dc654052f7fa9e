"""Single values of results, in words: for tables and lines, and for whoever writes sentences of his own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from registry.model.quoting import printable
from registry.model.units import format_duration, format_size
from registry.work.documents import plain


def cell(name: str, value: object) -> str:
    """A value for a person, in one line; the end of its `name` tells in what a number is."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, int | float) and name.endswith("_seconds"):
        return format_duration(value)
    if isinstance(value, Mapping):
        said = [
            f"{printable(str(key))} {cell(str(key), one)}"
            for key, one in value.items()
            if one not in (None, "", [], {})
        ]
        return "; ".join(said) or "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if is_list(value):
        assert isinstance(value, Sequence)
        return ", ".join(cell("", one) for one in value) or "-"
    return printable(str(plain(value)))


def is_list(value: object) -> bool:
    """Whether it has items."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
