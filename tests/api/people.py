"""Accounts, keys and tokens of a server, as the tests use them."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt

from registry.access.accounts import Accounts
from registry.access.passwords import Passwords
from registry.access.seal import Unsealed
from registry.access.signing import SigningKeys, StoredKeys
from registry.access.tokens import TYPE
from registry.access.vault import Vault
from registry.store import layout
from storage.local import LocalDriver
from tests.api.client import Answer
from tests.api.registry import Registry
from tests.api.server import Server


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password."""

    name: str
    password: str

    @property
    def basic(self) -> dict[str, str]:
        """The header that logs in with each request."""
        pair = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


def rules_file(folder: Path, rules: str) -> Mapping[str, Any]:
    """The settings that name these rules."""
    path = folder / "access.yaml"
    path.write_text(rules)
    return {"access": {"rules_file": str(path), "passwords": {"cost": 10}}}


def add_users(root: Path, names: Iterable[str]) -> dict[str, Login]:
    """Make accounts in a store before it is served, with hashes that take no time."""
    logins = {name: Login(name, secrets.token_urlsafe(12)) for name in names}

    async def add() -> None:
        driver = LocalDriver(root, private=layout.SECRET)
        await driver.start()
        passwords = Passwords(cost=4, at_once=2)
        try:
            accounts = Accounts(Vault(driver, Unsealed()), passwords, lambda: datetime.now(UTC))
            for login in logins.values():
                await accounts.add(login.name, login.password)
        finally:
            passwords.close()
            await driver.aclose()

    asyncio.run(add())
    return logins


def add_user(server: Server, name: str, groups: Iterable[str] = ()) -> Login:
    """Make an account with a password of its own."""
    password = secrets.token_urlsafe(12)
    words = [word for group in groups for word in ("--group", group)]
    server.command("user", "add", name, *words, "--password-stdin", given=password)
    return Login(name, password)


def add_key(server: Server, name: str, *words: str) -> Login:
    """Make an API key."""
    made = json.loads(server.command("apikey", "add", name, *words, "--json").out)
    return Login(name, made["key"])


def token(registry: Registry, login: Login | None, *scopes: str, **more: str) -> Answer:
    """Ask for a token with GET."""
    query = urlencode([("service", "any"), *(("scope", scope) for scope in scopes), *more.items()])
    return registry.ask("GET", f"/auth/token?{query}", {} if login is None else login.basic)


def post_token(registry: Registry, *fields: tuple[str, str]) -> Answer:
    """Ask for a token with POST."""
    form = urlencode(fields).encode()
    return registry.ask("POST", "/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, form)


def shifted(server: Server, answer: Answer, seconds: int) -> dict[str, str]:
    """The header with the token of an answer, as if a clock that is `seconds` ahead had been read for it."""
    text = answer.json()["token"]
    claims = jwt.decode(text, options={"verify_signature": False})
    claims |= {name: claims[name] + seconds for name in ("iat", "nbf", "exp")}

    async def sign() -> str:
        driver = LocalDriver(server.root, private=layout.SECRET)
        await driver.start()
        try:
            keys = SigningKeys(StoredKeys(Vault(driver, Unsealed()), may_write=False))
            await keys.look()
        finally:
            await driver.aclose()
        key = keys.newest
        return jwt.encode(claims, key.private, key.algorithm, headers={"typ": TYPE, "kid": key.kid})

    return {"Authorization": f"Bearer {asyncio.run(sign())}"}


def bearer(answer: Answer) -> dict[str, str]:
    """The header that brings the token of an answer along."""
    assert answer.status == 200, answer
    return {"Authorization": f"Bearer {answer.json()['token']}"}
