"""Logins: where one came from and how it was tried, and what the audit trail is told of how it ended."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from registry.access.audit import Entry, Event, Outcome
from registry.access.principals import Principal

# How long the same credentials from the same address are no news: clients send them with each request.
TOLD_SECONDS = 300.0
_REMEMBERED = 10_000
# Waits that nobody notices are not worth a word.
_WORTH_TELLING_SECONDS = 0.05

Via = Literal["basic", "apikey", "token"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: the client's address, and the headers in which it says what it is."""

    address: str = ""
    headers: Iterable[tuple[bytes, bytes]] = ()

    @property
    def agent(self) -> str:
        """What the client calls itself."""
        return next((value.decode("latin-1") for name, value in self.headers if name == b"user-agent"), "")


@dataclass(slots=True)
class Login:
    """One that is being tried: `tried` is the name that was sent, `waited` the seconds that slowed it."""

    origin: Origin
    via: Via
    tried: str
    secret: str
    waited: float = 0.0


class Logins:
    """Tells of each login that fails, and of one that succeeds unless the same did so minutes ago."""

    def __init__(self, note: Callable[[Entry], None], clock: Callable[[], float]) -> None:
        self._note = note
        self._clock = clock
        # Which were told, under a key that only this process knows.
        self._key = secrets.token_bytes(32)
        self._told: OrderedDict[bytes, float] = OrderedDict()

    def succeeded(self, login: Login, principal: Principal) -> None:
        """Somebody has proved who they are."""
        now = self._clock()
        pair = f"{login.origin.address}\n{len(login.tried)}:{login.tried}{login.secret}"
        digest = hmac.digest(self._key, pair.encode(errors="surrogatepass"), hashlib.sha256)
        told = self._told.get(digest)
        if told is not None and now - told < TOLD_SECONDS:
            return
        self._told.pop(digest, None)
        self._told[digest] = now
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._tell("login.succeeded", login, str(principal), "", "done")

    def failed(self, login: Login, reason: str, *, outcome: Outcome = "refused") -> None:
        """Somebody has not; `outcome` is `failed` where nobody could tell."""
        self._tell("login.failed", login, login.tried, reason, outcome)

    def _tell(self, event: Event, login: Login, who: str, reason: str, outcome: Outcome) -> None:
        waited = login.waited
        self._note(
            Entry(
                event,
                who=who,
                address=login.origin.address,
                via=login.via,
                agent=login.origin.agent,
                rule=reason,
                outcome=outcome,
                detail=f"slowed by {waited:.1f} s" if waited > _WORTH_TELLING_SECONDS else "",
            )
        )
