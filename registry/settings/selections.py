"""What settings select repositories and tags by."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from registry.model.patterns import RepositoryPattern
from registry.model.selection import TagSelector


def made(kind: type[Any]) -> BeforeValidator:
    """Has a text made into a value of ours, whose constructor says what is wrong with it."""
    return BeforeValidator(lambda value: kind(value) if isinstance(value, str) else value)


Repositories = Annotated[
    InstanceOf[RepositoryPattern], made(RepositoryPattern), PlainSerializer(str, return_type=str)
]
"""A pattern of repositories: `team/**`."""

Tags = Annotated[InstanceOf[TagSelector], made(TagSelector), PlainSerializer(str, return_type=str)]
"""Tags by a pattern, `re:` and a regular expression, or `semver:` and a range."""
