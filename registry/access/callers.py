"""Who makes a request, and what it may do: what the rules grant, within what its token is good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.access.policy import Decision, Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.rights import SCOPE_ACTIONS, Right
from registry.errors import Denied, RegistryError, Unauthorized
from registry.model.names import RepositoryName, Tag

CATALOG_SCOPE = "registry:catalog:*"
API_SCOPE = "registry:api:*"


@dataclass(frozen=True, slots=True)
class Grants:
    """What a token is good for: actions by repository, and names of what the registry has as a whole."""

    repositories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    registry: frozenset[str] = frozenset()

    def covers(self, right: Right, repository: RepositoryName | None) -> bool:
        """Whether the token is good for a right."""
        if right == "list":
            return "catalog" in self.registry
        if right in ("approve", "admin"):
            return "api" in self.registry
        if repository is None:
            return False
        actions = self.repositories.get(repository, frozenset())
        return "*" in actions or SCOPE_ACTIONS[right] in actions


@dataclass(frozen=True, slots=True)
class Caller:
    """One who asks. `grants` None is not bounded by a token."""

    principal: Principal
    policy: Policy
    grants: Grants | None = None

    @classmethod
    def anybody(cls, policy: Policy) -> Caller:
        """Nobody in particular."""
        return cls(ANONYMOUS, policy)

    @property
    def must_log_in(self) -> bool:
        """Whether nobody in particular asks, without even a token, where it matters who one is.

        Docker's classic store logs in only if this is said to `GET /v2/`, whatever else nobody may do.
        """
        return self.principal.is_anonymous and self.grants is None and self.policy.knows_people

    def decide(
        self, right: Right, repository: RepositoryName | None = None, tag: Tag | None = None
    ) -> Decision:
        """What the rules say, whatever the token."""
        return self.policy.decide(self.principal, right, repository, tag)

    def may(self, right: Right, repository: RepositoryName | None = None, tag: Tag | None = None) -> bool:
        """Whether rules and token allow it."""
        return self.refusal(right, repository, tag) is None

    def refusal(
        self, right: Right, repository: RepositoryName | None = None, tag: Tag | None = None
    ) -> RegistryError | None:
        """Why it is refused; None when it is allowed.

        Denied where the rules refuse and another token would not help, Unauthorized where nobody in
        particular asks, or a token is too small for what the rules would grant.
        """
        decision = self.decide(right, repository, tag)
        if decision.allowed:
            if self.grants is None or self.grants.covers(right, repository):
                return None
            return Unauthorized(
                "the token is not good for this; ask for one with the scope of the challenge",
                scope=scope_of(right, repository),
                problem="insufficient_scope",
                detail=_detail(right, repository, tag),
            )
        if self.principal.is_anonymous and self.policy.knows_people:
            return Unauthorized(
                scope=scope_of(right, repository),
                problem="" if self.grants is None else "insufficient_scope",
                detail=_detail(right, repository, tag),
            )
        return Denied(decision.reason, detail=_detail(right, repository, tag))

    def require(self, right: Right, repository: RepositoryName | None = None, tag: Tag | None = None) -> None:
        """Raises what `refusal` says."""
        refusal = self.refusal(right, repository, tag)
        if refusal is not None:
            raise refusal


def scope_of(right: Right, repository: RepositoryName | None) -> str:
    """The scope of a token that would be good for a right."""
    if right == "list":
        return CATALOG_SCOPE
    if right in ("approve", "admin") or repository is None:
        return API_SCOPE
    action = SCOPE_ACTIONS[right]
    # Who pushes looks first what is there.
    return f"repository:{repository}:{'pull,push' if action == 'push' else action}"


def _detail(right: Right, repository: RepositoryName | None, tag: Tag | None) -> dict[str, str]:
    detail: dict[str, str] = {"action": right}
    if repository is not None:
        detail["name"] = repository
    if tag is not None:
        detail["tag"] = tag
    return detail
