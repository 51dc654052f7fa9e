"""Results in JSON's own kinds, and back: made from the fields of a dataclass, whatever the operation."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from registry.errors import RegistryError


def plain(value: object) -> object:
    """The value in JSON's own kinds; what is not a record or a list is its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(one) for one in value]
    if is_record(value):
        return {name: plain(one) for name, one in record_fields(value)}
    return str(value)


def is_record(value: object) -> bool:
    """Whether it is shown by its fields: a value such as a digest is a dataclass too, and has a text."""
    return dataclasses.is_dataclass(value) and type(value).__str__ is object.__str__


def record_fields(value: object) -> list[tuple[str, object]]:
    """The names and values of a record's fields."""
    assert dataclasses.is_dataclass(value)
    return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]


def read_plain(kind: Any, document: object) -> Any:
    """The value of which `plain` makes the document.

    Raises ValueError when it is of another kind; what a record of another version has besides is left out.
    """
    if kind is Any or kind is object:
        return document
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_one_of(inner, document)
    if origin is Literal:
        return _expected(document, document in inner)
    if (origin or kind) in (list, tuple, Sequence):
        items = [read_plain(inner[0] if inner else Any, one) for one in _instance(document, list)]
        return tuple(items) if (origin or kind) is tuple else items
    if (origin or kind) in (dict, Mapping):
        pairs = _instance(document, dict).items()
        return {name: read_plain(inner[1] if inner else Any, one) for name, one in pairs}
    if kind is type(None):
        return _expected(document, document is None)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__str__ is object.__str__:
        return _read_record(kind, _instance(document, dict))
    return _read_scalar(kind, document)


def _read_record(kind: Any, document: Mapping[str, object]) -> Any:
    hints = typing.get_type_hints(kind)
    try:
        return kind(
            **{
                field.name: read_plain(hints[field.name], document[field.name])
                for field in dataclasses.fields(kind)
            }
        )
    except KeyError as error:
        raise ValueError(f"{kind.__name__} lacks {error.args[0]}") from None


def _read_one_of(kinds: Sequence[Any], document: object) -> Any:
    for kind in kinds:
        try:
            return read_plain(kind, document)
        except ValueError:
            continue
    raise ValueError("it is none of what it may be")


def _read_scalar(kind: Any, document: object) -> Any:
    if kind is bool:
        return _instance(document, bool)
    if issubclass(kind, int | float):
        _expected(document, isinstance(document, int | float) and not isinstance(document, bool))
        return kind(document)
    if issubclass(kind, Enum):
        return kind(document)
    text = _instance(document, str)
    if kind is datetime:
        return datetime.fromisoformat(text)
    try:
        return getattr(kind, "parse", kind)(text)
    except RegistryError as error:
        raise ValueError(error.message) from None


def _instance(document: object, kind: type) -> Any:
    return _expected(document, isinstance(document, kind))


def _expected(document: object, is_so: bool) -> Any:
    if not is_so:
        raise ValueError(f"it is a {type(document).__name__}")
    return document
