"""Two clients of one bucket, for metadata and for bodies, and how requests are made again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from boto3.session import Session
from botocore.config import Config
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

from storage.errors import StorageError, Unavailable
from storage.s3.errors import FAILURES, PLACE, Doubtful, Told, translated
from storage.s3.options import S3Options
from storage.threads import Threads

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0

Sleep = Callable[[float], Awaitable[None]]


class Lane:
    """A client with threads of its own: a call is one request, made again where that does no harm.

    Pauses between attempts hold no thread. Where all threads are in use a call waits, but not behind a store
    that hangs: not once none has come back for `patience_seconds`. `setting` is what says how many there are.
    """

    def __init__(
        self,
        client: Any,
        options: S3Options,
        threads: int,
        *,
        setting: str,
        patience_seconds: float,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.options = options
        self.threads = Threads(threads)
        self._free = asyncio.Semaphore(threads)
        self._setting = f"{threads} threads (storage.s3.{setting})"
        self._patience = patience_seconds
        self._came_back_at = float("-inf")
        self._sleep = sleep
        self._clock = clock

    async def call(self, method: str, key: str, /, **parameters: Any) -> dict[str, Any]:
        """What the client's method answers about the object under `key`. Raises storage errors."""
        return await self.run(key, lambda: self.ask(method, key, **parameters))

    async def run(self, key: str, step: Callable[[], T], abandon: Callable[[], None] | None = None) -> T:
        """The outcome of a step in a thread, made again when it was doubtful and there is time for it."""
        attempts = self.attempts()
        while True:
            try:
                return await self.once(key, step, abandon)
            except Doubtful as error:
                await attempts.another(error)

    def attempts(self) -> Attempts:
        """Of a request that is about to be made for the first time."""
        return Attempts(self.options, self.pause, self._clock)

    async def once(self, key: str, step: Callable[[], T], abandon: Callable[[], None] | None = None) -> T:
        """The outcome of a step in a thread; raises Doubtful where nobody knows it."""

        def told() -> T:
            try:
                return step()
            except FAILURES as error:
                raise translated(error, key, self.options.bucket) from error

        await self._wait_for_a_thread(key)
        try:
            return await self.threads.run(told, abandon=abandon)
        finally:
            self._came_back_at = self._clock()
            self._free.release()

    async def _wait_for_a_thread(self, key: str) -> None:
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    await self._free.acquire()
                return
            except TimeoutError:
                if self._clock() - self._came_back_at >= self._patience:
                    message = f"all {self._setting} wait for the store, which has answered none for long"
                    raise Unavailable(key, message) from None

    async def pause(self, attempt: int) -> None:
        """Wait before the next attempt: longer each time, and never all at the same moment."""
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**attempt)
        await self._sleep(random.uniform(longest / 2, longest))  # noqa: S311 (spreads load, hides nothing)

    def ask(self, method: str, key: str, /, **parameters: Any) -> dict[str, Any]:
        """One request about an object, from a thread; raises what boto3 does.

        To take from the answer what the store left out of it raises Unavailable.
        """
        try:
            return Told(
                key,
                getattr(self.client, method)(Bucket=self.options.bucket, Key=self.name(key), **parameters),
            )
        except ValueError as error:
            if isinstance(error, FAILURES):
                raise
            raise Unavailable(key, f"the store's answer cannot be read ({error}); {PLACE}") from error

    def name(self, key: str) -> str:
        """What a key is called in the bucket."""
        return f"{self.options.prefix}/{key}" if self.options.prefix else key

    async def aclose(self) -> None:
        """Wait for the requests under way, and close the connections."""
        await self.threads.close()
        self.client.close()


class Attempts:
    """How often a request may be made: so often, and none begins after the time that one alone may take."""

    def __init__(
        self, options: S3Options, pause: Callable[[int], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        self._most = options.attempts
        self._pause = pause
        self._clock = clock
        self._until = clock() + options.read_timeout_seconds
        self._made = 1

    async def another(self, error: StorageError) -> None:
        """Wait before the next attempt; raises what became of the last one when there is none."""
        if self._made >= self._most or self._clock() >= self._until:
            raise (error.final() if isinstance(error, Doubtful) else error) from error.__cause__
        await self._pause(self._made)
        self._made += 1


def make_clients(options: S3Options, *connections: int) -> list[Any]:
    """Clients with room for so many connections each; they never make a request again by themselves.

    Raises Unavailable, naming the setting that cannot be used.
    """
    core = botocore.session.Session()
    if options.access_key_file is not None and options.secret_key_file is not None:
        keys = _KeyFiles(options.access_key_file, options.secret_key_file)
        core.get_component("credential_provider").insert_before("env", keys)
    style = "path" if options.path_style else "virtual" if options.endpoint is None else "auto"
    session = Session(botocore_session=core)
    return [_client(session, options, count, style) for count in connections]


def _client(session: Session, options: S3Options, connections: int, style: str) -> Any:
    config = Config(
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        signature_version="s3v4",
        tcp_keepalive=True,
        request_checksum_calculation=options.checksums,
        response_checksum_validation=options.checksums,
        s3={"addressing_style": style, "payload_signing_enabled": options.payload_signing},
    )
    try:
        client = session.client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint,
            verify=None if options.ca_file is None else str(options.ca_file),
            config=config,
        )
    except (*FAILURES, ValueError) as error:
        raise Unavailable("", f"the store {options.place} cannot be used: {error}") from error
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return client


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """Older stores know no other checksum for the list of what is to be deleted."""
    body = params["body"]
    digest = hashlib.md5(body if isinstance(body, bytes) else body.encode(), usedforsecurity=False)
    params["headers"]["Content-MD5"] = base64.b64encode(digest.digest()).decode()


class _KeyFiles(CredentialProvider):  # type: ignore[misc] # botocore has no types
    """Keys in two files."""

    METHOD = "moorage-key-files"
    CANONICAL_NAME = "moorage-key-files"

    def __init__(self, access_key: Path, secret_key: Path) -> None:
        super().__init__()
        self._files = access_key, secret_key
        self.read()

    def load(self) -> _FileKeys:
        """What botocore asks for, once."""
        return _FileKeys(self)

    def state(self) -> list[tuple[int, ...]]:
        """What differs after one of the files was written or replaced. Raises OSError."""
        found = [file.stat() for file in self._files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]

    def read(self) -> list[str]:
        """The keys as the files have them now. Raises Unavailable."""
        texts = []
        for file in self._files:
            try:
                texts.append(file.read_text().strip())
            except (OSError, UnicodeDecodeError) as error:
                raise Unavailable("", f"the key in {file} cannot be read: {error}") from error
            if not texts[-1]:
                raise Unavailable("", f"{file} should hold a key, and is empty")
        return texts


class _FileKeys(Credentials):  # type: ignore[misc] # botocore has no types
    """The keys that each request is signed with: looks at the files first, which takes microseconds."""

    def __init__(self, files: _KeyFiles) -> None:
        self._files = files
        self._seen = files.state()
        super().__init__(*files.read(), method=files.METHOD)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What botocore asks for before each request."""
        # While a file is away or empty, as in the middle of being replaced, the old keys are used.
        with suppress(OSError, Unavailable):
            found = self._files.state()
            if found != self._seen:
                self.access_key, self.secret_key = self._files.read()
                self._seen = found
        return super().get_frozen_credentials()
