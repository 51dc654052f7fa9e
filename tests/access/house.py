"""Everything that knows people, on a store in memory and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from registry.access.accounts import Accounts
from registry.access.apikeys import ApiKeys
from registry.access.audit import Entry
from registry.access.credentials import Credentials, Workloads
from registry.access.guarded import GuardedGate
from registry.access.identity_tokens import IdentityTokens
from registry.access.issuing import Issuing
from registry.access.logins import Logins
from registry.access.passwords import Passwords
from registry.access.patience import Patience
from registry.access.people import PeopleSource
from registry.access.policy import Policy
from registry.access.seal import Unsealed
from registry.access.signing import SigningKeys, StoredKeys
from registry.access.tokens import Tokens
from registry.access.vault import Vault
from storage.memory import MemoryDriver

SERVICE = "registry.test/abc"


class Clock:
    """A time that only tests move; `slept` is how long somebody was made to wait.

    Where it `is_stopped`, waiting takes no time: as if all who wait had come at once.
    """

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept: list[float] = []
        self.is_stopped = False

    def now(self) -> datetime:
        """The wall clock."""
        return self.at

    def seconds(self) -> float:
        """The monotonic clock."""
        return self.at.timestamp()

    def advance(self, **by: float) -> None:
        """Let time pass."""
        self.at += timedelta(**by)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        self.slept.append(seconds)
        if not self.is_stopped:
            self.advance(seconds=seconds)


class House:
    """One process; two of them may share a `driver`."""

    def __init__(
        self,
        policy: Policy | None = None,
        driver: MemoryDriver | None = None,
        clock: Clock | None = None,
        workloads: Workloads | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.driver = driver or MemoryDriver(clock=self.clock.now)
        self.policy = policy or Policy(())
        self.vault = Vault(self.driver, Unsealed())
        self.passwords = Passwords(cost=4, at_once=2)
        self.accounts = Accounts(self.vault, self.passwords, self.clock.now)
        self.people: dict[str, PeopleSource] = {"user": self.accounts}
        self.api_keys = ApiKeys(self.vault, self.people, self.clock.now)
        self.identity_tokens = IdentityTokens(
            self.vault, self.people, self.clock.now, lifetime=timedelta(days=90)
        )
        self.patience = Patience(self.clock.seconds, self.clock.sleep)
        self.told: list[Entry] = []
        self.logins = Logins(self.told.append, self.clock.seconds)
        self.credentials = Credentials(
            self.people,
            self.api_keys,
            workloads,
            self.passwords,
            self.patience,
            self.logins,
            self.clock.seconds,
        )
        self.stored_keys = StoredKeys(self.vault, may_write=True)
        self.signing_keys = SigningKeys(self.stored_keys)
        self._unique = unique()

    async def begin(self) -> House:
        """As a server does before its first request."""
        await self.signing_keys.look()
        self.tokens = Tokens(
            self.signing_keys,
            issuer="moorage:abc",
            service=SERVICE,
            others=["other.test"],
            lifetime=timedelta(minutes=5),
            now=self.clock.now,
            unique=lambda: next(self._unique),
        )
        self.gate = GuardedGate(
            lambda: self.policy, self.credentials, self.signing_keys, self.tokens, None, self.clock.seconds
        )
        self.issuing = Issuing(
            lambda: self.policy,
            self.credentials,
            self.logins,
            self.tokens,
            self.signing_keys,
            self.identity_tokens,
            self.api_keys,
            lambda: True,
        )
        return self

    def close(self) -> None:
        """End the threads."""
        self.passwords.close()


def unique() -> Iterator[str]:
    """Identifiers that count up."""
    count = 0
    while True:
        count += 1
        yield f"{count:08x}"
