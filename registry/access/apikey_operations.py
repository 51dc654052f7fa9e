"""What access offers to operators about machines: API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from registry.access.administration import Administration, KeyState
from registry.access.principals import ANONYMOUS, OPERATOR
from registry.access.rights import WORDS
from registry.model.patterns import RepositoryPattern
from registry.model.units import parse_duration
from registry.work.operations import Context, Operation, Progress, Result, argument, option

if TYPE_CHECKING:
    # Heavy, and needed only when an operation runs.
    from registry.access.apikeys import ApiKey

Outcome = AsyncIterator[Progress | Result]


_LONGEST = timedelta(days=36500)


class Words(tuple[str, ...]):
    """Words that commas join; each must be a right. Raises ValueError."""

    @classmethod
    def parse(cls, text: str) -> Words:
        """Read `pull,push`."""
        words = cls(word.strip() for word in text.split(",") if word.strip())
        unknown = [word for word in words if word not in WORDS]
        if unknown or not words:
            raise ValueError(f"must be rights joined by commas, out of {', '.join(WORDS)}")
        return words

    def __str__(self) -> str:
        return ",".join(self)


class Patterns(tuple[RepositoryPattern, ...]):
    """Repository patterns that commas join. Raises ValueError."""

    @classmethod
    def parse(cls, text: str) -> Patterns:
        """Read `team-a/**,base/*`."""
        return cls(RepositoryPattern(part.strip()) for part in text.split(","))

    def __str__(self) -> str:
        return ",".join(str(pattern) for pattern in self)


class Span(timedelta):
    """A length of time with its unit, like `90d`. Raises ValueError."""

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `90d`."""
        seconds = parse_duration(text)
        if not 0 < seconds <= _LONGEST.total_seconds():
            raise ValueError(f"must be longer than nothing, and at most {_LONGEST.days}d")
        return cls(seconds=seconds)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be good for."""

    name: str = argument("the key's name, like ci-build")
    repositories: Patterns = option("on which repositories, like 'team-a/**'")
    may: Words = option("what it may, like pull,push")
    expires: Span | None = option("how long it is good, like 90d; without, until it is revoked", default=None)
    owner: str | None = option(
        "whose it is, like user:alice: it never may more than they; without it, whoever makes it",
        default=None,
    )
    description: str = option("what it is for", default="")


@dataclass(frozen=True, slots=True)
class Listing:
    """Which keys to list."""

    expiring: Span | None = option("only those whose time is over within so long, like 14d", default=None)


@dataclass(frozen=True, slots=True)
class OneKey:
    """Which key."""

    name: str = argument("the key's name")


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key, without its secret; `owner` None is the operator."""

    name: str
    state: KeyState
    owner: str | None
    repositories: list[str]
    may: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    description: str


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key with its text, which nobody can read again."""

    name: str
    key: str
    expires_at: datetime | None

    def told(self) -> str:
        """The key alone on a line, since scripts read it, with what to do with it on standard error."""
        return self.key


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys in the order of their names."""

    keys: list[ShownKey]


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """What is good for nothing any more, or would be."""

    name: str
    dry_run: bool

    def told(self) -> str:
        """One line."""
        return f"{'would revoke' if self.dry_run else 'revoked'} {self.name}"


def operations(office: Callable[[], Administration]) -> Iterable[Operation[Any]]:
    """The operations on the keys of the registry that is open when one of them runs."""

    async def apikey_add(asked: NewKey, context: Context) -> Outcome:
        office().require_writable()
        # A key without an owner may more than whoever makes it. (Nobody in particular administers only what
        # has no rules.)
        maker = None if context.by in (OPERATOR.text, ANONYMOUS.text) else context.by
        key, text = await office().api_keys.add(
            asked.name,
            owner=asked.owner or maker,
            repositories=asked.repositories,
            may=asked.may,
            expires=asked.expires,
            description=asked.description,
        )
        yield Result(
            MadeKey(key.name, text, key.expires_at),
            text="This is shown once. Log in with any user name and the key as the password.",
        )

    async def apikey_list(asked: Listing, _: Context) -> Outcome:
        keys = [key async for key in office().api_keys.all()]
        if asked.expiring is not None:
            end = datetime.now(UTC) + asked.expiring
            keys = [key for key in keys if key.expires_at is not None and key.expires_at <= end]
        yield Result(Keys(await shown(keys)))

    async def apikey_show(asked: OneKey, _: Context) -> Outcome:
        (key,) = await shown([await office().api_keys.get(asked.name)])
        yield Result(key)

    async def apikey_revoke(asked: OneKey, context: Context) -> Outcome:
        await office().api_keys.get(asked.name)
        if not context.dry_run:
            office().require_writable()
            await office().api_keys.revoke(asked.name)
        yield Result(RevokedKey(asked.name, context.dry_run))

    async def shown(keys: Sequence[ApiKey]) -> list[ShownKey]:
        return [
            ShownKey(
                key.name,
                state,
                key.owner,
                [pattern.text for pattern in key.repositories],
                sorted(key.rights),
                key.created_at,
                key.expires_at,
                await office().api_keys.used_at(key.name),
                key.description,
            )
            for key, state in zip(keys, await office().api_keys.states(keys), strict=True)
        ]

    return (
        Operation(
            "apikey.add",
            "Make an API key for a machine",
            "admin",
            False,
            NewKey,
            apikey_add,
            changes=True,
            result=MadeKey,
        ),
        Operation("apikey.list", "List the API keys", "admin", False, Listing, apikey_list, result=Keys),
        Operation(
            "apikey.show",
            "Show an API key, without its secret",
            "admin",
            False,
            OneKey,
            apikey_show,
            result=ShownKey,
        ),
        Operation(
            "apikey.revoke",
            "Let an API key be good for nothing any more; a token made with it is good for some minutes",
            "admin",
            True,
            OneKey,
            apikey_revoke,
            result=RevokedKey,
        ),
    )
