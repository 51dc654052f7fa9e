"""What operations on access work with: accounts, keys and rules of the registry that is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from registry.access.policy import Policy
from registry.access.principals import Principal

if TYPE_CHECKING:
    # Heavy, and needed only when an operation runs.
    from registry.access.accounts import Accounts
    from registry.access.apikeys import ApiKeys
    from registry.access.credentials import Credentials
    from registry.access.identity_tokens import IdentityTokens
    from registry.access.signing import SigningKeys, StoredKeys
    from registry.access.vault import Vault

KeyState = Literal["good", "expired", "owner gone", "owner disabled", "owner not known"]
"""Whether an API key is good for anything; not known while the source of its owner does not answer."""


@dataclass(frozen=True, slots=True)
class Names:
    """How a registry is called in its tokens: who makes them, and for whom."""

    issuer: str
    service: str


class Administration(Protocol):
    """The parts; `stored_keys` is None where the operator keeps signing keys in files."""

    accounts: Accounts
    api_keys: ApiKeys
    identity_tokens: IdentityTokens
    credentials: Credentials
    signing_keys: SigningKeys
    stored_keys: StoredKeys | None
    vault: Vault

    def policy(self) -> Policy:
        """The rules as they are now."""

    async def known(self, text: str) -> Principal:
        """Somebody with what is known of them: groups of people, bounds of keys. Raises RequestInvalid."""

    async def names(self) -> Names:
        """How this registry is called in its tokens."""

    def require_writable(self) -> None:
        """Raises ReadOnly while the store takes no writes."""
