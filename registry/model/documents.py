"""JSON read strictly: what two readers could understand differently is refused, with the place of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from registry.errors import ManifestInvalid
from registry.model.quoting import quoted

DEEPEST = 64
"""The levels of objects and lists in a document."""
LONGEST_NUMBER = 40
"""The characters of a number in a document; an int64 has at most 20."""

_BRACES_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'"[]{}')


class Fields:
    """The names that the specification gives to the fields of one kind of object."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._by_folded = {name.casefold(): name for name in names}

    def check(self, value: Mapping[str, Any], path: str) -> None:
        """Refuse keys that differ from a field only in case: Go reads them as that field, others do not."""
        if self._names.issuperset(value):
            return
        for key in value.keys() - self._names:
            name = self._by_folded.get(key.casefold())
            if name is not None:
                raise ManifestInvalid(
                    f"the key {quoted(key)} at {path} differs only in case from the field {name!r};"
                    " readers would disagree on what it means"
                )


def read_document(content: bytes, what: str = "the manifest") -> dict[str, Any]:
    """The object that `content` spells in JSON; `what` it is stands in the errors.

    Refused with ManifestInvalid, which names the place: what is not UTF-8 or not one JSON object, keys that
    repeat, NaN and infinities, numbers of more than 40 characters, lone surrogates, more than 64 levels.
    """
    if is_too_deep(content):
        raise ManifestInvalid(f"{what} is nested deeper than {DEEPEST} levels, or its brackets do not match")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"{what} is not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ManifestInvalid(f"{what} begins with a byte order mark, which JSON does not allow")
    try:
        document = _decode(text, what)
    except json.JSONDecodeError as error:
        raise ManifestInvalid(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ManifestInvalid(f"{what} is not a JSON object")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(document, "$")
    return document


def read_leniently(content: bytes) -> list[tuple[str, Any]]:
    """The keys and values of the object that `content` spells, as they follow each other; [] if it is none.

    Numbers stay text. For what lies in a store already and has to be answered as well as can be.
    """
    try:
        document = _LENIENT.decode(content.decode(errors="replace"))
    except (ValueError, RecursionError):
        return []
    return document if isinstance(document, _Pairs) else []


def is_too_deep(content: bytes) -> bool:
    """Whether it has more than `DEEPEST` levels, or brackets that do not match: no parser has seen it yet."""
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return False
    # Only quotes and brackets are kept; then every second piece between quotes lies outside of strings.
    unescaped = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    pieces = unescaped.translate(_BRACES_TO_BRACKETS, _NOT_STRUCTURE).split(b'"')
    structure = b"".join(pieces[::2])
    for _ in range(DEEPEST):
        structure = structure.replace(b"[]", b"")  # takes the innermost level away
    return bool(structure)


class _RefusedError(Exception):
    """The fast reading met something to refuse; a second reading says what and where."""


class _Flaw(str):
    """Stands in the second reading for a value that is refused; says why."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """An object in the second reading, with every key that was written."""

    __slots__ = ()


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedError
    return value


def _integer(text: str) -> int | _Flaw:
    if len(text) > LONGEST_NUMBER:
        return _Flaw(f"a number of {len(text)} characters")
    return int(text)


def _real(text: str) -> float | _Flaw:
    if len(text) > LONGEST_NUMBER:
        return _Flaw(f"a number of {len(text)} characters")
    value = float(text)
    return value if math.isfinite(value) else _Flaw(f"the number {text}, which is beyond all bounds")


def _constant(text: str) -> _Flaw:
    return _Flaw(f"{text}, which is not JSON")


def _strict_integer(text: str) -> int:
    value = _integer(text)
    if isinstance(value, _Flaw):
        raise _RefusedError
    return value


def _strict_real(text: str) -> float:
    value = _real(text)
    if isinstance(value, _Flaw):
        raise _RefusedError
    return value


def _strict_constant(_text: str) -> float:
    raise _RefusedError


_STRICT = json.JSONDecoder(
    object_pairs_hook=_strict_object,
    parse_int=_strict_integer,
    parse_float=_strict_real,
    parse_constant=_strict_constant,
)
_LENIENT = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
_EXPLAINING = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


def _decode(text: str, what: str) -> object:
    try:
        return _STRICT.decode(text)
    except _RefusedError:
        raise ManifestInvalid(next(_flaws(_EXPLAINING.decode(text), "$", what))) from None


def _step(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() and len(key) < 50 else f"{path}[{quoted(key)}]"


def _flaws(value: object, path: str, what: str) -> Iterator[str]:
    if isinstance(value, _Flaw):
        yield f"{what} has at {path} {value}"
    elif isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, entry in value:
            if key in seen:
                yield f"the key {quoted(key)} stands twice at {path}"
            seen.add(key)
            yield from _flaws(entry, _step(path, key), what)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _flaws(entry, f"{path}[{index}]", what)


def _check_surrogates(value: object, path: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ManifestInvalid(f"the text at {path} has half of a surrogate pair") from None
    elif isinstance(value, dict):
        for key, entry in value.items():
            _check_surrogates(key, path)
            _check_surrogates(entry, _step(path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_surrogates(entry, f"{path}[{index}]")
