"""What settings select repositories, tags and parts of images by."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer

from registry.model.patterns import RepositoryPattern
from registry.model.platforms import Platform
from registry.model.selection import Selection, TagSelector
from registry.settings.values import Settings


def made(kind: type[Any]) -> BeforeValidator:
    """Has a text made into a value of ours, whose constructor says what is wrong with it."""
    return BeforeValidator(lambda value: kind(value) if isinstance(value, str) else value)


Repositories = Annotated[
    InstanceOf[RepositoryPattern], made(RepositoryPattern), PlainSerializer(str, return_type=str)
]
"""A pattern of repositories: `team/**`."""

Tags = Annotated[InstanceOf[TagSelector], made(TagSelector), PlainSerializer(str, return_type=str)]
"""Tags by a pattern, `re:` and a regular expression, or `semver:` and a range."""

Platforms = Annotated[InstanceOf[Platform], made(Platform), PlainSerializer(str, return_type=str)]
"""A platform: `linux/amd64`."""


class SelectionSettings(Settings):
    """Images, and which parts of them."""

    repositories: Annotated[tuple[Repositories, ...], Field(min_length=1)]
    tags: Annotated[tuple[Tags, ...], Field(min_length=1)] = (TagSelector("*"),)
    # Of those tags only so many, the newest versions.
    newest: Annotated[int, Field(ge=1)] | None = None
    platforms: tuple[Platforms, ...] = ()
    referrers: bool = True

    @property
    def selection(self) -> Selection:
        """What it is about."""
        return Selection(self.repositories, self.tags)
