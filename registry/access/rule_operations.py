"""What access offers to operators about rules and tokens: why somebody may or may not, and new keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from registry.access.administration import Administration
from registry.access.expectations import Action, read_expectations
from registry.access.people import SourceUnavailable
from registry.access.policy import Policy
from registry.access.principals import Principal
from registry.access.rights import WORDS, Right
from registry.errors import InputInvalid, RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option

Outcome = AsyncIterator[Progress | Result]

# Where people come from; machines get no identity tokens.
_WITH_TOKENS = ("user", "htpasswd", "ldap")


@dataclass(frozen=True, slots=True)
class Explain:
    """Who wants to do what to what."""

    who: str = argument("who: user:alice, ldap:bob, key:ci, issuer:gitlab:SUBJECT, or anonymous")
    action: Action = argument("pull, push, create, overwrite, delete, list, approve or admin")
    reference: str = argument("REPOSITORY or REPOSITORY:TAG")
    group: tuple[str, ...] = option(
        "a group that they are in besides those known, like ldap-group:devs; may be repeated", default=()
    )
    claim: tuple[str, ...] = option("a claim of their token, like ref=main; may be repeated", default=())


@dataclass(frozen=True, slots=True)
class Explained:
    """Whether it is allowed, and the rule that decides; `rule` None where none does (see `reason`)."""

    who: str
    groups: list[str]
    action: str
    repository: str
    tag: str | None
    allowed: bool
    reason: str
    rule: int | None
    line: int | None

    def told(self) -> str:
        """In a sentence or two."""
        place = self.repository if self.tag is None else f"{self.repository}:{self.tag}"
        verdict = "may" if self.allowed else "may not"
        groups = f" (in {', '.join(self.groups)})" if self.groups else ""
        return f"{self.who}{groups} {verdict} {self.action} {place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Test:
    """Which expectations to check."""

    file: str = argument("a list of expectations in YAML; see docs/login.md")


@dataclass(frozen=True, slots=True)
class Wrong:
    """An expectation that the rules do not meet."""

    line: int
    who: str
    action: str
    reference: str
    expected: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tested:
    """How many expectations there were, and which the rules do not meet."""

    expectations: int
    wrong: list[Wrong]

    def told(self) -> str | None:
        """One line where all is well; the table tells the rest."""
        return f"all {self.expectations} expectations are met" if not self.wrong else None


@dataclass(frozen=True, slots=True)
class Show:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What another registry needs to know to believe this one's tokens; their keys are at /auth/jwks.json."""

    issuer: str
    service: str
    kids: list[str]


@dataclass(frozen=True, slots=True)
class Rotate:
    """What becomes of the key before."""

    revoke: bool = option(
        "believe the key before no more at once: for one that others may have; clients ask for new tokens",
        default=False,
    )


@dataclass(frozen=True, slots=True)
class Rotated:
    """The key that signs from now on."""

    kid: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class LogOut:
    """Who is to log in again."""

    who: str = argument("who, like user:alice")


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """How many identity tokens are good for nothing any more, or would be."""

    who: str
    identity_tokens: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that the registry keeps secret in its store."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed, or would be."""

    sealed: list[Secret]


def operations(office: Callable[[], Administration]) -> Iterable[Operation[Any]]:
    """The operations on rules and tokens of the registry that is open when one of them runs."""

    async def access_explain(asked: Explain, _: Context) -> Outcome:
        name, tag = _reference(asked.reference)
        known = await office().known(asked.who)
        principal = Principal(
            known.text,
            known.groups | frozenset(asked.group),
            tuple(sorted((*known.claims, *map(_claim, asked.claim)))),
            known.bound,
        )
        yield Result(explained(office().policy(), principal, asked.action, name, tag))

    async def access_test(asked: Test, _: Context) -> Outcome:
        expectations = read_expectations(asked.file)
        wrong = []
        for line, one in expectations:
            principal = Principal(one.who, frozenset(one.groups), tuple(sorted(one.claims.items())))
            tag = None if one.tag is None else Tag(one.tag)
            found = explained(office().policy(), principal, one.action, RepositoryName(one.repository), tag)
            if found.allowed != (one.expect == "allow"):
                place = one.repository if one.tag is None else f"{one.repository}:{one.tag}"
                wrong.append(Wrong(line, one.who, one.action, place, one.expect, found.reason))
        yield Result(Tested(len(expectations), wrong), Status.FAILED if wrong else Status.DONE)

    async def access_show(_: Show, __: Context) -> Outcome:
        names = await office().names()
        await office().signing_keys.look()
        keys = office().signing_keys.jwks()["keys"]
        yield Result(Shown(names.issuer, names.service, [key["kid"] for key in keys]))

    async def access_rotate_key(asked: Rotate, _: Context) -> Outcome:
        office().require_writable()
        keys = office().stored_keys
        if keys is None:
            raise RequestInvalid(
                "the signing keys are files (access.tokens.signing_key_files): put a new one before the"
                " others there"
            )
        key = await keys.rotate(revoke=asked.revoke)
        await office().signing_keys.look()
        yield Result(Rotated(key.kid, key.algorithm))

    async def access_logout(asked: LogOut, context: Context) -> Outcome:
        tokens, who = office().identity_tokens, await _called(office(), asked.who)
        if context.dry_run:
            yield Result(LoggedOut(who, await tokens.count(who)))
            return
        office().require_writable()
        yield Result(LoggedOut(who, await tokens.revoke_all(who)))

    async def access_seal(_: Seal, context: Context) -> Outcome:
        vault = office().vault
        if not vault.seals:
            raise RequestInvalid(
                "there is no key to seal with: name a file in access.seal_key_file that has one, such as"
                " `moorage init` makes"
            )
        if not context.dry_run:
            office().require_writable()
        found = [Secret(kind, name) async for kind, name in vault.seal_all(dry_run=context.dry_run)]
        yield Result(Sealed(found))

    return (
        Operation(
            "access.explain",
            "Say whether somebody may do something, and which rule decides",
            "admin",
            False,
            Explain,
            access_explain,
            result=Explained,
        ),
        Operation(
            "access.test",
            "Check the rules against a table of expectations",
            "admin",
            False,
            Test,
            access_test,
            needs_store=lambda _: False,
            result=Tested,
            # It reads a file of whoever asks.
            local=True,
        ),
        Operation(
            "access.show",
            "Show what others need to know to believe this registry's tokens",
            "admin",
            False,
            Show,
            access_show,
            result=Shown,
        ),
        Operation(
            "access.rotate-key",
            "Sign tokens with a new key; nobody has to log in again",
            "admin",
            False,
            Rotate,
            access_rotate_key,
            changes=True,
            result=Rotated,
        ),
        Operation(
            "access.seal",
            "Seal what the registry keeps secret in its store and was put there without a key",
            "admin",
            False,
            Seal,
            access_seal,
            changes=True,
            rehearses=True,
            result=Sealed,
            # No server begins before it is done.
            local=True,
        ),
        Operation(
            "access.logout",
            "Let somebody's identity tokens be good for nothing any more",
            "admin",
            True,
            LogOut,
            access_logout,
            result=LoggedOut,
        ),
    )


def explained(
    policy: Policy, principal: Principal, action: Action, repository: RepositoryName, tag: Tag | None
) -> Explained:
    """The decision; of `push`, which takes two rights, the one that is refused if any is."""
    rights: tuple[Right, ...] = WORDS[action]
    decisions = [policy.decide(principal, right, repository, tag) for right in rights]
    decision = next((one for one in decisions if not one.allowed), decisions[0])
    rule = decision.rule
    return Explained(
        principal.text,
        sorted(principal.groups),
        action,
        repository,
        tag,
        decision.allowed,
        decision.reason,
        None if rule is None else rule.number or None,
        None if rule is None else rule.line or None,
    )


async def _called(office: Administration, text: str) -> str:
    """Whose tokens are meant, in their source's own spelling. Raises RequestInvalid."""
    source, _, name = text.partition(":")
    if source not in _WITH_TOKENS or not name:
        raise RequestInvalid(
            f"{quoted(text)} is nobody who could have identity tokens: write a name with its source, like"
            f" user:alice; the sources are {', '.join(_WITH_TOKENS)}"
        )
    try:
        return (await office.known(text)).text
    except (RequestInvalid, SourceUnavailable):
        # Whoever has left their source, or one that is configured no more, may have tokens all the same.
        return text


def _reference(text: str) -> tuple[RepositoryName, Tag | None]:
    name, colon, tag = text.partition(":")
    return RepositoryName(name), Tag(tag) if colon else None


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputInvalid("a claim is written NAME=VALUE, like ref=main")
    return name, value
