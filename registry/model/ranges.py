"""Ranges of bytes as headers spell them (RFC 9110: Range Requests; dist-spec: Pushing a blob in chunks)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import BlobUploadInvalid, RangeInvalid
from registry.model.quoting import quoted

_SPEC = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
# Real clients also write the header as RFC 9110 has it, with a unit and a total. An empty piece is "5-4",
# and at the beginning "0--1".
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-(-1|[0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.ASCII)

_MOST_RANGES = 2048
_FEW_RANGES = 8
_SLACK_BYTES = 1 << 20
_BEHIND_EVERYTHING = 10**19


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, not including, `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise RangeInvalid(f"a range cannot begin at {self.start} and end before {self.end}")

    def __len__(self) -> int:
        return self.end - self.start


def parse_range(header: str | None, size: int) -> list[ByteRange] | None:
    """The parts of an object of `size` bytes that a `Range` header asks for, in its order, never merged.

    None means that the whole object is to be sent, as if there were no header: there is none, its unit is
    unknown, it is malformed, or it asks for more parts, or more bytes in overlapping parts, than is sound.
    Of several parts those outside of the object are left out.

    Raises RangeInvalid, with the `Content-Range` header, when no part lies in the object or one ends before
    it begins.
    """
    if header is None:
        return None
    unit, separator, specs = header.partition("=")
    if not separator or unit.strip().lower() != "bytes" or specs.count(",") >= _MOST_RANGES:
        return None
    found: list[ByteRange] = []
    asked = False
    for spec in specs.split(","):
        text = spec.strip(" \t")
        if not text:
            continue  # RFC 9110 has recipients accept empty elements of a list
        match = _SPEC.fullmatch(text)
        if match is None or text == "-":
            return None
        asked = True
        part = _part(match[1], match[2], size)
        if part is not None:
            found.append(part)
    if not asked:
        return None
    if size == 0 and found:
        return None  # "bytes=0-" of nothing: clients resume with it, and are sent nothing
    if not found:
        raise _unsatisfiable(size)
    if len(found) > _FEW_RANGES and sum(map(len, found)) > 2 * size + _SLACK_BYTES:
        return None
    return found


def parse_content_range(header: str) -> ByteRange:
    """The place in an upload that a piece is for.

    Raises BlobUploadInvalid when the header is malformed; RangeInvalid when it ends before it begins.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        raise BlobUploadInvalid(
            f"Content-Range is <first byte>-<last byte>, like '0-1023', not {quoted(header)}"
        )
    start, end = int(match[1]), int(match[2]) + 1
    if end < start:
        raise RangeInvalid(f"the Content-Range {quoted(header)} ends before it begins")
    return ByteRange(start, end)


def _part(first: str, last: str, size: int) -> ByteRange | None:
    """One part, cut at the end of the object; None when it lies outside."""
    if not first:
        length = _position(last)
        return ByteRange(max(0, size - length), size) if length else None
    start = _position(first)
    end = _position(last) + 1 if last else size
    if last and end <= start:
        raise _unsatisfiable(size)
    if start == 0 and not last:
        return ByteRange(0, size)
    return ByteRange(start, min(end, size)) if start < size else None


def _position(digits: str) -> int:
    """The number, or one behind everything: texts of any length cost nothing to read."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 19 else _BEHIND_EVERYTHING


def _unsatisfiable(size: int) -> RangeInvalid:
    return RangeInvalid(
        f"the object has {size} bytes; the range asked for lies outside of it, or ends before it begins",
        headers={"Content-Range": f"bytes */{size}"},
    )
