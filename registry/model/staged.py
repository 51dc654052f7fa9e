"""Repositories of bundles that were accepted and are not approved yet: `staged/<bundle>/<name>`."""

from __future__ import annotations

import re

from registry.errors import NameInvalid
from registry.model.names import RepositoryName

_STAGED = re.compile(r"staged/b-[0-9a-f]{20}(?:/(.+))?", re.ASCII)


def staged_prefix(bundle: str) -> str:
    """What the names of all repositories begin with in which a bundle waits."""
    return f"staged/{bundle}/"


def staged_repository(bundle: str, name: str) -> RepositoryName:
    """Where what a bundle brings for a repository waits. Raises NameInvalid for a name that is too long."""
    return RepositoryName(f"{staged_prefix(bundle)}{name}")


def is_staged(name: str) -> bool:
    """Whether it is such a repository, which only an import writes to."""
    return name.startswith("staged/") and _STAGED.fullmatch(name) is not None


def meant_by(name: str) -> RepositoryName | None:
    """For which repository it is; None for any other."""
    found = _STAGED.fullmatch(name)
    if found is None or found[1] is None:
        return None
    try:
        return RepositoryName(found[1])
    except NameInvalid:
        return None
