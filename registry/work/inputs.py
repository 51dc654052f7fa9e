"""The fields of an operation's input, so that every door reads and writes them alike.

An input is a frozen dataclass whose fields were made with `argument` and `option`. The type of one is a text,
a number, a truth value, a path (`local` only), an `Enum` or `Literal` of texts, or a value of ours: made of a
text by its `parse`, or else by calling it, and such a text again as `str`. It may be optional, or a tuple of
any of these.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from registry.errors import RegistryError
from registry.model.quoting import quoted
from registry.model.units import format_duration
from registry.settings import nearest

Json = Literal["string", "integer", "number", "boolean"]


class WrongInput(Exception):
    """The input does not fit; `problems` has for each field that is wrong what is wrong with it."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: {message}" for name, message in problems))


@dataclass(frozen=True, slots=True)
class InputField:
    """One field: `kind` is the type of a value of it, `many` says whether there may be several."""

    name: str
    help: str
    place: Literal["argument", "option"]
    kind: Any
    many: bool
    default: Any
    secret: bool
    new: bool
    local: bool

    @property
    def flag(self) -> str:
        """What it is called on the command line; a `_` behind a word that is Python's is left out."""
        return f"--{self.name.rstrip('_').replace('_', '-')}"

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is dataclasses.MISSING

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it may be; () where there are more than can be listed."""
        if get_origin(self.kind) is Literal:
            return get_args(self.kind)
        return tuple(str(one.value) for one in self.kind) if _is_a(self.kind, Enum) else ()

    @property
    def json(self) -> Json:
        """What a value is in JSON."""
        for kind, name in _JSON:
            if _is_a(self.kind, kind):
                return name
        return "string"

    def of_text(self, text: str) -> Any:
        """The value that a text means. Raises RegistryError, ValueError."""
        if self.choices and not hasattr(self.kind, "parse"):
            if text not in self.choices:
                raise ValueError(f"must be one of {', '.join(self.choices)}")
            return self.kind(text) if _is_a(self.kind, Enum) else text
        if self.secret and not text:
            raise ValueError("must not be empty")
        return getattr(self.kind, "parse", self.kind)(text)

    def read(self, value: object) -> Any:
        """What a value in JSON means. Raises RegistryError, ValueError."""
        if value is None and self.default is None:
            return None
        if not self.many:
            return self._read_one(value)
        if not isinstance(value, list):
            raise ValueError("must be a list")
        return tuple(self._read_one(one) for one in value)

    def written(self, value: Any) -> object:
        """The value in JSON, secrets too; `read` makes the same of it."""
        if value is None:
            return None
        return [self._written_one(one) for one in value] if self.many else self._written_one(value)

    def _read_one(self, value: object) -> Any:
        types_, words = _ACCEPTED[self.json]
        if not isinstance(value, types_) or (isinstance(value, bool) and self.json != "boolean"):
            raise ValueError(f"must be {words}")
        if self.json == "string":
            return self.of_text(str(value))
        if self.json == "integer" and hasattr(self.kind, "parse"):
            return self.kind.parse(str(value))
        return self.kind(value)

    def _written_one(self, value: Any) -> object:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, timedelta):
            return format_duration(value.total_seconds())
        return {"string": str, "integer": int, "number": float, "boolean": bool}[self.json](value)


def fields(kind: type[Any]) -> list[InputField]:
    """The fields of an input. Raises TypeError for a type that not every door could offer."""
    hints = typing.get_type_hints(kind)
    return [_field(field, hints[field.name]) for field in dataclasses.fields(kind)]


def read_input(kind: type[Any], document: Mapping[str, object]) -> Any:
    """The input that a document in JSON means. Raises WrongInput with all problems."""
    known = {field.name: field for field in fields(kind)}
    values: dict[str, object] = {}
    problems: list[tuple[str, str]] = []
    for name, value in document.items():
        field = known.get(name)
        if field is None:
            near = nearest(name, [one for one, field in known.items() if not field.local])
            hint = "" if near is None else f"; did you mean {near}?"
            problems.append((name[:_LONGEST_NAME], f"there is no field {quoted(name)}{hint}"))
        elif field.local:
            problems.append((name, "this is done on the machine of the store only, by the command line"))
        else:
            try:
                values[name] = field.read(value)
            except RegistryError as error:
                problems.append((name, error.message))
            except ValueError as error:
                problems.append((name, str(error)))
    missing = [name for name, field in known.items() if field.required and name not in document]
    problems += [(name, "this field is required") for name in missing]
    if problems:
        raise WrongInput(problems)
    return kind(**values)


def written_input(asked: Any) -> dict[str, object]:
    """The document in JSON of an input, without what is as it is by default. Secrets stand in it."""
    found = {}
    for field in fields(type(asked)):
        value = getattr(asked, field.name)
        if field.required or value != field.default:
            found[field.name] = field.written(value)
    return found


_LONGEST_NAME = 100
_JSON: tuple[tuple[type, Json], ...] = (
    (bool, "boolean"),
    (str, "string"),
    (int, "integer"),
    (float, "number"),
)
_ACCEPTED: Mapping[Json, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}


def _field(field: dataclasses.Field[Any], hint: Any) -> InputField:
    kind, many = _value(hint)
    about = field.metadata
    made = InputField(
        field.name,
        about["help"],
        about["place"],
        kind,
        many,
        field.default,
        about.get("secret", False),
        about.get("new", False),
        about.get("local", False),
    )
    if _is_a(kind, Path) and not made.local:
        raise TypeError(f"{field.name}: a path means something on one machine only; make it local")
    return made


def _value(hint: Any) -> tuple[Any, bool]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(next(one for one in inner if one is not type(None)))
    if origin in (tuple, list):
        return _value(inner[0])[0], True
    return hint, False


def _is_a(kind: Any, wanted: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, wanted)
