"""Passwords: hashed by bcrypt, checked off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from registry.errors import RequestInvalid, Unavailable

T = TypeVar("T")

# What guessing over the network does not get through; those that were taken before go on being good.
LEAST_CHARACTERS = 8
# What bcrypt looks at; the rest of a longer password would count for nothing.
MOST_BYTES = 72
_WAITING = 256


class PasswordUnfit(RequestInvalid):
    """A new password that cannot be taken; the text says why."""


class Passwords:
    """Makes and checks hashes with a work factor of `cost`, at most `at_once` of them at a time."""

    def __init__(self, *, cost: int, at_once: int) -> None:
        self._cost = cost
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="password")
        self._waiting = 0
        # To compare with where nobody has the name: made once, of a password that nobody knows.
        self._nobodys = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(cost)).decode()

    async def hash(self, password: str) -> str:
        """The hash of a new password. Raises PasswordUnfit."""
        return (await self._run(bcrypt.hashpw, fit(password), bcrypt.gensalt(self._cost))).decode()

    async def matches(self, password: str, hashed: str | None, *, cut: bool = False) -> bool:
        """Whether the password has the hash; with None false, after as much time.

        With `cut` only its first 72 bytes count, as Apache has it; otherwise a longer one matches nothing.

        Raises Unavailable when too many are being checked.
        """
        encoded = password.encode(errors="surrogatepass")
        too_long = len(encoded) > MOST_BYTES and not cut
        # A NUL ends a password for some implementations of bcrypt, and not for others.
        unfit = too_long or b"\x00" in encoded
        try:
            known = (hashed or self._nobodys).replace("$2y$", "$2b$", 1).encode()
            same = await self._run(bcrypt.checkpw, encoded[:MOST_BYTES].replace(b"\x00", b"?"), known)
        except ValueError:
            # No hash of bcrypt's.
            return False
        return same and hashed is not None and not unfit

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        if self._waiting >= _WAITING:
            raise Unavailable("too many passwords are being checked; try again", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        finally:
            self._waiting -= 1


def fit(password: str) -> bytes:
    """A new password's bytes. Raises PasswordUnfit.

    Its length is all that is asked of it (NIST SP 800-63B: no rules of composition).
    """
    encoded = password.encode()
    if len(password) < LEAST_CHARACTERS:
        raise PasswordUnfit(
            f"a password has at least {LEAST_CHARACTERS} characters, not {len(password)}; which ones does not"
            " matter: several words are easy to remember"
        )
    if len(encoded) > MOST_BYTES:
        raise PasswordUnfit(
            f"a password has at most {MOST_BYTES} bytes, since bcrypt looks at no more, not {len(encoded)}"
        )
    if b"\x00" in encoded or b"\n" in encoded or b"\r" in encoded:
        raise PasswordUnfit("a password holds no NUL and no line break")
    return encoded
