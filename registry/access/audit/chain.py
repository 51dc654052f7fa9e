"""The chain that the lines of one process form: each has a number, the hash of the line before, and its own.

Who alters, removes, adds or moves a line breaks it. The hash is over the line's canonical JSON, so that a
line may pass through programs that write the same JSON in another way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Line = dict[str, str | int]

# What the log calls a line that it carries, and the field in which it does.
CARRIED = "audit.noted"
CARRIED_IN = "entry"
_HASH_LENGTH = 64
_MOST_DIGITS = 18


def hash_of(line: Mapping[str, Any]) -> str:
    """The hash of a line: SHA-256 of all its fields but `hash`, as JSON with sorted keys, in ASCII."""
    rest = {key: value for key, value in line.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Chain:
    """Makes the lines of one process; `process` is a name that no other has."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._previous = ""
        self.number = 0

    def add(self, fields: Mapping[str, str | int]) -> Line:
        """The next line, with these fields."""
        self.number += 1
        line = {**fields, "process": self._process, "number": self.number, "previous": self._previous}
        line["hash"] = self._previous = hash_of(line)
        return line


@dataclass(frozen=True, slots=True)
class Link:
    """What verification needs of a line; `intact` says whether it has its hash."""

    process: str
    number: int
    previous: str
    hash: str
    intact: bool
    event: str
    time: str
    lost: int


class NotALine(Exception):
    """The text is no JSON object, or not all of one."""


def read_link(text: str) -> Link | None:
    """The link that a line of a log is; None when it is another line of that log. Raises NotALine."""
    doubled = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        document = dict(pairs)
        # Of two readers one would take the first, the other the last.
        doubled = doubled or len(document) < len(pairs)
        return document

    try:
        line = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise NotALine from None
    if not isinstance(line, dict):
        raise NotALine
    if line.get("event") == CARRIED and isinstance(line.get(CARRIED_IN), dict):
        line = line[CARRIED_IN]
    number, lost = line.get("number"), line.get("lost", 0)
    texts = [line.get(key) for key in ("process", "previous", "hash")]
    if type(number) is not int or not all(isinstance(one, str) for one in texts):
        return None
    process, previous, stated = map(str, texts)
    sound = 0 < number < 10**_MOST_DIGITS and type(lost) is int and len(stated) == _HASH_LENGTH
    return Link(
        process,
        number,
        previous,
        stated,
        sound and not doubled and hash_of(line) == stated,
        str(line.get("event", "")),
        str(line.get("time", "")),
        lost if sound else 0,
    )
