"""What is wrong with settings, said so that it can be put right: where, what, and what is allowed instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from registry.logs import redacted
from registry.model.units import format_duration, parse_size
from registry.settings.values import HIDDEN, exact_size

Location = tuple[str | int, ...]
_LONGEST_VALUE = 80
_TIMEDELTA = re.compile(r"datetime\.timedelta\((.*)\)")
_PART = re.compile(r"(days|seconds|microseconds)=([0-9]+)")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from; `where` is the file, the variable or the flag, `line` one of the file."""

    kind: Literal["default", "file", "environment", "flag"]
    where: str = ""
    line: int | None = None

    @classmethod
    def file(cls, name: str, line: int | None = None) -> Source:
        """A file, and a line of it if one is known."""
        return cls("file", name, line)

    def __str__(self) -> str:
        return (self.where or self.kind) + ("" if self.line is None else f":{self.line}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `value` is as people may see it, None where there is none to show."""

    path: str
    message: str
    source: Source
    value: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        parts = [f"{self.source}: " if self.source.where else ""]
        if self.path:
            parts.append(self.path if self.value is None else f"{self.path} = {self.value}")
            parts.append(": ")
        parts.append(self.message)
        if self.nearest is not None:
            parts.append(f"; did you mean {self.nearest}?")
        return "".join(parts)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems as one meets them in the file, those from elsewhere first."""
    return tuple(sorted(problems, key=lambda problem: problem.source.line or 0))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` may have been meant to be, if any is close."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)


def dotted(location: Sequence[str | int]) -> str:
    """A location as people write it: `a.b[2].c`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    """A value as a report may show it: short, on one line, without credentials."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "(keys)"
    if isinstance(value, list):
        text = redacted(f"[{', '.join(map(str, value))}]")
        return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…]"
    text = redacted(str(value))
    return repr(text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…")


def problems_of(
    error: ValidationError,
    *,
    source: Callable[[Location], Source],
    value: Callable[[Location], object],
    known: Sequence[str],
    secrets: frozenset[str] = frozenset(),
) -> list[Problem]:
    """The problems in a validation error; `known` are the dotted keys there are, `secrets` those to hide."""
    found = []
    for one in error.errors(include_url=False, include_input=False):
        location = one["loc"]
        path = dotted(location)
        if one["type"] == "too_short" and _has_enough(value(location), one):
            # Those that are not right do not count, and each of them is told.
            continue
        if one["type"] == "extra_forbidden":
            # Whatever stands behind a misspelled key may be a password.
            near = nearest_key(path, known)
            found.append(Problem(path, "there is no such key", source(location), None, near))
        elif one["type"] == "missing":
            found.append(Problem(path, "this key is required", source(location)))
        else:
            given = value(location)
            text = HIDDEN if path in secrets else shown(given)
            found.append(Problem(path, _sentence(one, given), source(location), text))
    return found


def nearest_key(path: str, known: Sequence[str]) -> str | None:
    """The key most like `path`: a sibling of the same section, the same word elsewhere, or one like it."""
    section, _, word = path.rpartition(".")
    begin = f"{section}." if section else ""
    siblings = [key[len(begin) :].partition(".")[0] for key in known if key.startswith(begin)]
    if (sibling := nearest(word, siblings)) is not None:
        return f"{begin}{sibling}"
    same = [key for key in known if key.rpartition(".")[2] == word]
    if len(same) == 1:
        return same[0]
    # A section that is misspelled; a key that is like none is not made more so by the section before it.
    return nearest(path, [key for key in known if nearest(word, [key.rpartition(".")[2]])])


def _has_enough(given: object, error: ErrorDetails) -> bool:
    return isinstance(given, list | tuple) and len(given) >= int(error["ctx"]["min_length"])


def _written(bound: object, given: object) -> str:
    """A bound as one would write it where `given` was written."""
    # A length of time comes as Python shows it.
    if isinstance(bound, str) and (found := _TIMEDELTA.fullmatch(bound)):
        parts = {name: int(number) for name, number in _PART.findall(found[1])}
        return format_duration(timedelta(**parts).total_seconds())
    if isinstance(bound, int) and isinstance(given, str):
        with suppress(ValueError):
            parse_size(given)
            return exact_size(bound)
    return str(bound)


def _sentence(error: ErrorDetails, given: object) -> str:
    """What is allowed, in our words where pydantic's are about Python."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"must be {context['expected']}"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            name = str(error["loc"][-1]) if error["loc"] else ""
            return f"must be a number{' of seconds, without a unit' if name.endswith('_seconds') else ''}"
        case "greater_than_equal":
            return f"must be {_written(context['ge'], given)} or more"
        case "greater_than":
            return f"must be more than {_written(context['gt'], given)}"
        case "less_than_equal":
            return f"must be {_written(context['le'], given)} or less"
        case "string_type" | "path_type":
            return "must be a text"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a section of keys"
        case "too_short":
            least = context["min_length"]
            return f"must have at least {least} item{'' if least == 1 else 's'}"
        case "list_type" | "tuple_type" | "frozen_set_type":
            return "must be a list"
        case _:
            return error["msg"].replace("Input should be", "must be")
