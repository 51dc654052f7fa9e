"""Scopes: what a client wants a token for (Distribution's token scope documentation)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from registry.access.callers import Grants
from registry.access.policy import Policy
from registry.access.principals import Principal
from registry.access.rights import Right
from registry.errors import NameInvalid
from registry.model.names import RepositoryName

# More are asked for by nobody, and each costs a few decisions.
MOST = 100
_TYPE = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?")
_ACTIONS: tuple[tuple[str, tuple[Right, ...]], ...] = (
    ("pull", ("pull",)),
    ("push", ("create", "overwrite")),
    ("delete", ("delete",)),
)
# What the registry has as a whole, and the right to ask for it.
_WHOLE: dict[str, Right | None] = {"catalog": "list", "api": None}


@dataclass(frozen=True, slots=True)
class Scope:
    """One wish: actions on a thing of a type."""

    type: str
    name: str
    actions: frozenset[str]


def parse_scopes(texts: Iterable[str]) -> list[Scope]:
    """The wishes in all of several texts, each of which may hold several; what is malformed is left out."""
    found = [scope for text in texts for word in text.split() if (scope := _parse(word)) is not None]
    return found[:MOST]


def renamed(name: Callable[[RepositoryName], RepositoryName], texts: Iterable[str]) -> list[str]:
    """The wishes of somebody who calls repositories otherwise, with the names that they have here."""
    found = []
    for one in parse_scopes(texts):
        try:
            called = name(RepositoryName(one.name)) if one.type == "repository" else one.name
        except NameInvalid:
            continue
        found.append(f"{one.type}:{called}:{','.join(sorted(one.actions))}")
    return found


def grant(policy: Policy, principal: Principal, scopes: Iterable[Scope]) -> Grants:
    """What of the wishes the rules allow now: often less than was asked for, and never an error."""
    repositories: dict[str, frozenset[str]] = {}
    registry = set()
    for scope in scopes:
        if scope.type == "registry" and scope.name in _WHOLE and "*" in scope.actions:
            right = _WHOLE[scope.name]
            if right is None or policy.decide(principal, right).allowed:
                registry.add(scope.name)
        elif scope.type == "repository":
            try:
                name = RepositoryName(scope.name)
            except NameInvalid:
                continue
            allowed = _allowed(policy, principal, name, scope.actions)
            if allowed:
                repositories[name] = repositories.get(name, frozenset()) | allowed
    return Grants(repositories, frozenset(registry))


def access_of(grants: Grants) -> list[dict[str, object]]:
    """The grants as the claim `access` of a token has them."""
    entries: list[dict[str, object]] = [
        {"type": "repository", "name": name, "actions": sorted(actions)}
        for name, actions in sorted(grants.repositories.items())
    ]
    return entries + [
        {"type": "registry", "name": name, "actions": ["*"]} for name in sorted(grants.registry)
    ]


def grants_of(access: Iterable[object]) -> Grants:
    """The grants in the claim `access` of a token; entries that are none are left out."""
    repositories: dict[str, frozenset[str]] = {}
    registry = set()
    for entry in access:
        if not isinstance(entry, dict):
            continue
        name, actions = entry.get("name"), entry.get("actions")
        if not isinstance(name, str) or not isinstance(actions, list):
            continue
        words = frozenset(action for action in actions if isinstance(action, str))
        if entry.get("type") == "repository":
            repositories[name] = repositories.get(name, frozenset()) | words
        elif entry.get("type") == "registry" and "*" in words:
            registry.add(name)
    return Grants(repositories, frozenset(registry))


def scope_text(grants: Grants) -> str:
    """The grants as one scope text."""
    words = [
        f"repository:{name}:{','.join(sorted(actions))}"
        for name, actions in sorted(grants.repositories.items())
    ]
    return " ".join([*words, *(f"registry:{name}:*" for name in sorted(grants.registry))])


def _parse(word: str) -> Scope | None:
    # A name may hold a host with a port: the type ends at the first colon, the actions begin at the last.
    kind, _, rest = word.partition(":")
    name, colon, actions = rest.rpartition(":")
    found = _TYPE.fullmatch(kind)
    if found is None or not colon or not name:
        return None
    words = frozenset(action for action in actions.split(",") if action)
    return Scope(found[1], name, words) if words else None


def _allowed(
    policy: Policy, principal: Principal, name: RepositoryName, wanted: frozenset[str]
) -> frozenset[str]:
    everything = "*" in wanted
    return frozenset(
        action
        for action, rights in _ACTIONS
        if (everything or action in wanted)
        and any(policy.allows_any(principal, right, name) for right in rights)
    )
