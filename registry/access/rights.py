"""What one may be allowed to do, in the words of rules, of requests and of token scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Right = Literal["pull", "create", "overwrite", "delete", "list", "approve", "admin"]
RIGHTS: tuple[Right, ...] = ("pull", "create", "overwrite", "delete", "list", "approve", "admin")

# What rules write: the rights themselves, and `push` for both that a push may need, as docker means it.
WORDS: Mapping[str, tuple[Right, ...]] = {right: (right,) for right in RIGHTS} | {
    "push": ("create", "overwrite")
}

# Who is nobody in particular cannot be told from anybody else who reaches the registry.
NEVER_ANONYMOUS: frozenset[Right] = frozenset({"delete", "approve", "admin"})

# Whoever has one of these on some repository may ask what of it concerns the registry as a whole.
OF_ANY: frozenset[Right] = frozenset({"list", "approve"})

# The rights that a rule may narrow to some tags. A pull by digest knows of no tags, and so does a list.
OF_TAGS: frozenset[Right] = frozenset({"create", "overwrite", "delete"})

# The action of a token's scope that a right needs (Distribution's token specification knows no others).
SCOPE_ACTIONS: Mapping[Right, str] = {
    "pull": "pull",
    "create": "push",
    "overwrite": "push",
    "delete": "delete",
}
