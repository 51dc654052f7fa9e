"""Who asks: a name and the source that vouches for it. Equal names from two sources are two people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.access.rights import OF_ANY, WORDS, Right
from registry.model.names import RepositoryName
from registry.model.patterns import RepositoryPattern


@dataclass(frozen=True, slots=True)
class Bound:
    """What an API key is good for at most: these rights, on these repositories, as far as its owner has them.

    `owner` None is the operator, who may do everything.
    """

    repositories: tuple[RepositoryPattern, ...]
    rights: frozenset[Right]
    owner: Principal | None

    def covers(self, right: Right, repository: RepositoryName | None) -> bool:
        """Whether the key is good for the right on a repository, or (None) on the registry as a whole."""
        if right not in self.rights:
            return False
        if repository is None:
            return right in OF_ANY or any(pattern.text == "**" for pattern in self.repositories)
        return any(pattern.matches(repository) for pattern in self.repositories)

    def __str__(self) -> str:
        words = ["push", *sorted(self.rights - set(WORDS["push"]))] if self._pushes else sorted(self.rights)
        return f"{', '.join(words)} on {', '.join(pattern.text for pattern in self.repositories)}"

    @property
    def _pushes(self) -> bool:
        return self.rights.issuperset(WORDS["push"])


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: `user:alice`, `htpasswd:bob`, `ldap:eve`, `issuer:gitlab:<subject>`, `key:ci`, or one below.

    `groups` are written as rules write them (`group:devs`, `ldap-group:devs`); `claims` are those of an
    issuer's token that are texts.
    """

    text: str
    groups: frozenset[str] = frozenset()
    claims: tuple[tuple[str, str], ...] = ()
    bound: Bound | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def source(self) -> str:
        """Who vouches for the name: the first word of it."""
        return self.text.partition(":")[0]

    @property
    def name(self) -> str:
        """The name without its source; of an issuer's workload what follows the issuer's name."""
        rest = self.text.partition(":")[2]
        return rest.partition(":")[2] if self.source == "issuer" else rest

    @property
    def issuer(self) -> str | None:
        """The name that the configuration gives to the issuer of a workload's token."""
        return self.text.split(":", 2)[1] if self.source == "issuer" else None

    @property
    def is_anonymous(self) -> bool:
        """Whether it is nobody in particular."""
        return self.text == ANONYMOUS.text

    def claim(self, name: str) -> str | None:
        """A claim of an issuer's token."""
        return dict(self.claims).get(name)

    def document(self) -> dict[str, Any]:
        """As JSON, so that a token can carry it."""
        document: dict[str, Any] = {"who": self.text}
        if self.groups:
            document["groups"] = sorted(self.groups)
        if self.claims:
            document["claims"] = dict(self.claims)
        if self.bound is not None:
            owner = self.bound.owner
            document["bound"] = {
                "repositories": [pattern.text for pattern in self.bound.repositories],
                "rights": sorted(self.bound.rights),
                "owner": None if owner is None else owner.document(),
            }
        return document

    @classmethod
    def of(cls, document: Any) -> Principal:
        """What `document` wrote. Raises ValueError, KeyError, TypeError for anything else."""
        if not isinstance(document, dict):
            raise TypeError("no principal is written so")
        # Most have none of these, and each token that a process has not seen yet comes by here.
        groups, claims, bound = document.get("groups"), document.get("claims"), document.get("bound")
        return cls(
            str(document["who"]),
            frozenset(map(str, groups)) if groups else frozenset(),
            tuple(sorted((str(key), str(value)) for key, value in dict(claims).items())) if claims else (),
            None if bound is None else _bound(bound),
        )


ANONYMOUS = Principal("anonymous")
OPERATOR = Principal("operator")


def _bound(document: Mapping[str, Any]) -> Bound:
    owner = document["owner"]
    return Bound(
        tuple(RepositoryPattern(text) for text in document["repositories"]),
        frozenset(right for word in document["rights"] for right in WORDS[word]),
        None if owner is None else Principal.of(owner),
    )
