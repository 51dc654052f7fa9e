"""The grammar of keys, and how keys become paths of directories."""

from __future__ import annotations

import re

from storage.errors import InvalidKey

TEMPORARY_PREFIX = ".tmp-"
"""Begins the names under which drivers keep unfinished objects; no segment of a key begins so."""

NOTES_PREFIX = f"{TEMPORARY_PREFIX}notes-"
"""Begins the names, in the root alone, under which drivers note where unfinished objects lie."""

# Looks ahead only where a segment begins with a dot, and never back: keys are checked many times a request.
_DOTTED = rf"(?!\.{{1,2}}(?:/|\Z))(?!{re.escape(TEMPORARY_PREFIX)})\."
_SEGMENT = rf"(?:[A-Za-z0-9_-]|{_DOTTED})[A-Za-z0-9._-]*+"
_match_key = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*+").fullmatch
_match_segment = re.compile(_SEGMENT).fullmatch


def validate(key: str) -> None:
    """Raise InvalidKey unless `key` keeps to the grammar of the contract."""
    if _match_key(key) is None:
        raise InvalidKey(
            key,
            "a key is made of segments of A-Z a-z 0-9 . _ - joined by '/', none of them empty, '.', '..'"
            f" or beginning with '{TEMPORARY_PREFIX}'",
        )


def validate_prefix(prefix: str) -> None:
    """Raise InvalidKey unless `prefix` is a key, or "" for everything."""
    if prefix:
        validate(prefix)


def is_key(text: str) -> bool:
    """Whether `text` keeps to the grammar."""
    return _match_key(text) is not None


def is_segment(name: str) -> bool:
    """Whether `name` may stand between two slashes of a key."""
    return _match_segment(name) is not None


def parents(key: str) -> list[str]:
    """The proper prefixes of `key` that end before a `/`, shortest first: of `a/b/c`, `a` and `a/b`."""
    return [key[:at] for at, letter in enumerate(key) if letter == "/"]
