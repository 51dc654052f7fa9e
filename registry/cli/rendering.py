"""Results for people and for programs, whatever the operation: made from the fields of a dataclass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from registry.model.quoting import printable
from registry.work.documents import is_record, plain, record_fields
from registry.work.wording import cell, is_list


@runtime_checkable
class Told(Protocol):
    """What says of itself what people read; None where its fields say it best."""

    def told(self) -> str | None:
        """The lines."""
        ...


def as_json(value: object) -> str:
    """The value as one line of JSON."""
    return json.dumps(plain(value), ensure_ascii=False)


def as_text(value: object) -> str:
    """The value for a person: a line a field, a table for a list of records, an item a line if it is all.

    Fields that are None are left out. A value that has words of its own (`told`) is told in those. What a
    server of another version answers is no record of ours, and stays JSON.
    """
    if isinstance(value, Mapping):
        return "\n".join(map(printable, json.dumps(value, ensure_ascii=False, indent=2).split("\n")))
    if isinstance(value, Told) and (words := value.told()) is not None:
        return "\n".join(map(printable, words.split("\n")))
    if not is_record(value):
        return cell("", value)
    fields = [(name, one) for name, one in record_fields(value) if one is not None]
    if len(fields) == 1 and is_list(fields[0][1]):
        return "\n".join(_rows(fields[0][1]))
    simple = [(name, one) for name, one in fields if not is_list(one)]
    width = max((len(_title(name)) for name, _ in simple), default=0) + 1
    lines = [f"{_title(name) + ':':<{width}} {cell(name, one)}" for name, one in simple]
    for name, one in fields:
        if is_list(one) and one:
            lines += [f"{_title(name)}:", *(f"  {row}" for row in _rows(one))]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int | None = None) -> list[str]:
    """Lines with aligned columns; none is wider than `widest` for a cell that is."""
    widths = [
        max(len(head), *(len(cell) for cell in cells if widest is None or len(cell) <= widest), 0)
        for head, *cells in zip(header, *rows, strict=True)
    ]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def _rows(items: object) -> list[str]:
    assert isinstance(items, Sequence)
    if not items or not is_record(items[0]):
        return [cell("", item) for item in items]
    names = [name for name, _ in record_fields(items[0])]
    cells = [[cell(name, one) for name, one in record_fields(item)] for item in items]
    return table([_title(name).upper() for name in names], cells)


def _title(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_seconds").removesuffix("_at").replace("_", " ")
