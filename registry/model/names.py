"""Names of repositories, tags, and what a manifest is asked by (dist-spec: Pulling manifests)."""

from __future__ import annotations

import re
from typing import Self

from registry.errors import NameInvalid, TagInvalid
from registry.model.digests import Digest
from registry.model.quoting import quoted

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_NOT_IN_TAGS = re.compile(r"[^a-zA-Z0-9._-]")
LONGEST_NAME = 255
"""The characters of the name of a repository."""
# What cosign and the fallback for referrers call the tags of what belongs to a manifest.
_ATTACHED = re.compile(r"(sha256)-([a-f0-9]{64})(?:[.-].*)?|(sha512)-([a-f0-9]{128})(?:[.-].*)?")


class RepositoryName(str):
    """The name of a repository, like `team/app`. Raises NameInvalid."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if len(text) > LONGEST_NAME:
            raise NameInvalid(f"a repository name has at most {LONGEST_NAME} characters, not {len(text)}")
        if _NAME.fullmatch(text) is None:
            raise NameInvalid(
                "a repository name is made of lowercase letters and digits, joined by '.', '_', '__', dashes"
                f" or '/', like 'team/app', not {quoted(text)}"
            )
        return super().__new__(cls, text)


class Prefix(RepositoryName):
    """A name that stands for all repositories below it, too: `team`, which may be written `team/`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """The prefix that a text means. Raises NameInvalid."""
        return cls(text.removesuffix("/"))


class Tag(str):
    """The name that a repository gives to one of its manifests, like `latest`. Raises TagInvalid."""

    __slots__ = ()

    def __new__(cls, text: str) -> Tag:
        if _TAG.fullmatch(text) is None:
            raise TagInvalid(
                "a tag has 1 to 128 characters, letters, digits, '_', '.' and '-', and does not begin with"
                f" '.' or '-'; {quoted(text)} is none"
            )
        return super().__new__(cls, text)


def parse_reference(text: str) -> Tag | Digest:
    """What a manifest is asked by: a digest if there is a colon, else a tag.

    Raises DigestInvalid or TagInvalid.
    """
    return Digest.parse(text) if ":" in text else Tag(text)


def referrers_tag(digest: Digest) -> Tag:
    """The tag of the fallback for referrers (dist-spec: Referrers Tag Schema)."""
    return Tag(_NOT_IN_TAGS.sub("-", f"{digest.algorithm[:32]}-{digest.encoded[:64]}"))


def subject_of(tag: str) -> Digest | None:
    """The manifest that a tag says to belong to, as those of signatures do; None for others."""
    match = _ATTACHED.fullmatch(tag)
    return None if match is None else Digest(match[1] or match[3], match[2] or match[4])
