"""Requests by boto3, which are of uploads in parts: each is made once, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from storage.errors import Unavailable
from storage.s3.direct import Direct, Http
from storage.s3.errors import FAILURES, PLACE, Told, told
from storage.s3.turns import Turns, attempted
from storage.threads import Threads

T = TypeVar("T")


class Lane:
    """What may take long: a client with threads of its own, whose calls are a request each, and `direct`.

    Pauses between attempts hold no thread.
    """

    def __init__(self, client: Any, http: Http) -> None:
        options = http.options
        self.client = client
        self.options = options
        self.threads = Threads(options.body_threads)
        # A part that is sent or copied may take long.
        self.turns = Turns(options.body_threads, options.read_timeout_seconds, "body_threads")
        self.direct = Direct(http, self.turns)

    async def call(self, method: str, key: str, /, **parameters: Any) -> dict[str, Any]:
        """What the client's method answers about the object under `key`. Raises storage errors."""
        return await self.run(key, lambda: self.ask(method, key, **parameters))

    async def run(self, key: str, step: Callable[[], T]) -> T:
        """The outcome of a step in a thread, made again when it was doubtful and there is time for it."""
        return await attempted(self.options, lambda: self.once(key, step))

    async def once(self, key: str, step: Callable[[], T]) -> T:
        """The outcome of a step in a thread; raises Doubtful where nobody knows it."""

        await self.turns.take(key)
        try:
            with told(key, self.options.bucket):
                return await self.threads.run(step)
        finally:
            self.turns.give_back()

    def ask(self, method: str, key: str, /, **parameters: Any) -> dict[str, Any]:
        """One request about an object, from a thread; raises what boto3 does.

        To take from the answer what the store left out of it raises Unavailable.
        """
        try:
            return Told(
                key,
                getattr(self.client, method)(
                    Bucket=self.options.bucket, Key=self.options.name(key), **parameters
                ),
            )
        except ValueError as error:
            if isinstance(error, FAILURES):
                raise
            raise Unavailable(key, f"the store's answer cannot be read ({error}); {PLACE}") from error

    async def aclose(self) -> None:
        """Wait for the requests under way, and close the connections."""
        await self.turns.all_ended()
        await self.threads.close()
        self.client.close()
