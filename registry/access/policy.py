"""What the rules decide: for each request, from memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from registry.access.principals import OPERATOR, Principal
from registry.access.rights import RIGHTS, Right
from registry.access.rules import EVERYBODY, TOKEN, PlacedRule, Rule
from registry.model.names import RepositoryName, Tag
from registry.model.staged import is_staged, meant_by

_REMEMBERED = 4096

Question = tuple[Principal, Right, RepositoryName | None, Tag | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and why or why not, in words for the one who asked."""

    allowed: bool
    reason: str
    rule: PlacedRule | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed to whom; without rules (None) everything is."""

    rules: tuple[PlacedRule, ...] | None
    _decided: OrderedDict[Question, Decision] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls) -> Policy:
        """Everything is allowed, as on loopback without rules."""
        return cls(None)

    @classmethod
    def of_tokens(cls) -> Policy:
        """Whoever has another token server's token may do what that is good for, and nobody else anything."""
        granted = {"who": TOKEN, "repositories": ["**"], "may": ["pull", "push", "delete", "list"]}
        return cls((PlacedRule(0, 0, Rule.model_validate(granted)),))

    @property
    def knows_people(self) -> bool:
        """Whether it matters who somebody is: some rule speaks of others than everybody."""
        return any(one.rule.who != (EVERYBODY,) for one in self.rules or ())

    @property
    def groups(self) -> frozenset[str]:
        """The groups that some rule names: all that a token has to carry."""
        return frozenset(
            who for one in self.rules or () for who in one.rule.who if who.partition(":")[0].endswith("group")
        )

    @property
    def claims(self) -> frozenset[str]:
        """The claims that some rule asks for."""
        rules = [one.rule for one in self.rules or ()]
        asked = {name for rule in rules for name in rule.claims}
        filled = {name for rule in rules for template in rule.repositories for name in template.claims}
        return frozenset(asked | filled)

    def decide(
        self,
        principal: Principal,
        right: Right,
        repository: RepositoryName | None = None,
        tag: Tag | None = None,
    ) -> Decision:
        """Whether somebody may do it to a repository, and a tag of it.

        Without a tag it is about content: whether it may be pulled, created, deleted at all. Without a
        repository it is about the registry as a whole.
        """
        if repository is not None and is_staged(repository) and principal != OPERATOR:
            if right not in ("pull", "list"):
                return _ONLY_IMPORTS
            # Who decides about a bundle looks at what it brings for a repository.
            right, repository = "approve", meant_by(repository)
        if self.rules is None:
            return _NO_RULES
        question = (principal, right, repository, tag)
        decision = self._decided.get(question)
        if decision is None:
            decision = self._decided[question] = self._decide(*question)
            if len(self._decided) > _REMEMBERED:
                self._decided.popitem(last=False)
        return decision

    def denial(
        self, principal: Principal, right: Right, repository: RepositoryName | None, tag: Tag | None
    ) -> Decision | None:
        """What a rule that denies it says; None where none does, whether or not another grants it."""
        if principal == OPERATOR:
            return None
        denied = _first(self._speaking((principal, _judged(principal)), right, repository, tag, grants=False))
        if denied is None:
            return None
        return Decision(False, f"{denied} denies it: {_words(principal, right, repository, tag)}", denied)

    def allows_any(self, principal: Principal, right: Right, repository: RepositoryName) -> bool:
        """Whether somebody may do it to content or to some tag of the repository: what a token is worth."""
        if self.rules is None:
            return True
        if self.decide(principal, right, repository).allowed:
            return True
        return any(
            one.rule.may is not None
            and one.rule.tags is not None
            and right in one.rule.rights
            and one.rule.is_about(_judged(principal))
            and one.rule.covers(_judged(principal), right, repository)
            for one in self.rules
        ) and (principal.bound is None or principal.bound.covers(right, repository))

    def _decide(
        self, principal: Principal, right: Right, repository: RepositoryName | None, tag: Tag | None
    ) -> Decision:
        if principal == OPERATOR:
            return Decision(True, "the operator may do everything")
        asked = _words(principal, right, repository, tag)
        bound = principal.bound
        if bound is not None and not bound.covers(right, repository):
            return Decision(False, f"the API key {principal.name} was made for {bound} only: {asked}")
        denied = self.denial(principal, right, repository, tag)
        if denied is not None:
            return denied
        if bound is not None and bound.owner is None:
            return Decision(True, f"the API key {principal.name} was made by the operator for {bound}")
        whose = f" (the owner of {principal})" if bound is not None else ""
        granted = _first(self._speaking((_judged(principal),), right, repository, tag, grants=True))
        if granted is not None:
            return Decision(True, f"{granted} grants it{whose}", granted)
        return Decision(
            False, f"no access rule grants {_words(_judged(principal), right, repository, tag)}{whose}"
        )

    def _speaking(
        self,
        principals: Sequence[Principal],
        right: Right,
        repository: RepositoryName | None,
        tag: Tag | None,
        *,
        grants: bool,
    ) -> Iterable[PlacedRule]:
        """The rules that grant or deny it to one of several."""
        for one in self.rules or ():
            rule = one.rule
            if (rule.may is not None) is not grants or right not in rule.rights:
                continue
            if not rule.covers_tag(right, tag):
                continue
            if any(rule.is_about(who) and rule.covers(who, right, repository) for who in principals):
                yield one


def _judged(principal: Principal) -> Principal:
    """Whose rights count: of an API key its owner's, as they are now."""
    bound = principal.bound
    return principal if bound is None or bound.owner is None else bound.owner


def _first(rules: Iterable[PlacedRule]) -> PlacedRule | None:
    return next(iter(rules), None)


def _words(principal: Principal, right: Right, repository: RepositoryName | None, tag: Tag | None) -> str:
    verb = _VERBS[right]
    place = "any repository" if repository is None else repository
    if tag is not None:
        return f"{principal} to {_TAG_VERBS.get(right, right)} {place}:{tag}"
    return f"{principal} to {verb}{place}"


_VERBS = {
    "pull": "pull from ",
    "create": "push to ",
    "overwrite": "overwrite in ",
    "delete": "delete from ",
    "list": "list ",
    "approve": "approve bundles for ",
    "admin": "administer ",
}
_TAG_VERBS = {"create": "create", "overwrite": "overwrite", "delete": "delete"}
_ONLY_IMPORTS = Decision(False, "what waits below staged/ is written by imports of bundles alone")
_NO_RULES = Decision(True, "there are no access rules, so everything is allowed")
assert set(_VERBS) == set(RIGHTS)
