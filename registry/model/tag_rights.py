"""What somebody may do to tags, as core and removal ask for it; who that is, and why, others know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from registry.errors import RegistryError
from registry.model.names import Tag

TagRight = Literal["create", "overwrite", "delete"]


class TagRights(Protocol):
    """What somebody may do to the tags of one repository; it does not change while a request is served."""

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """Why it may not be done to the tag, as it is to be raised; None when it may be."""


@dataclass(frozen=True, slots=True)
class EveryTag:
    """The rights of the operator, who may do everything to every tag."""

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:  # noqa: ARG002
        """None."""
        return None


EVERY_TAG: TagRights = EveryTag()
