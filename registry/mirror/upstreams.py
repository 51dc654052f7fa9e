"""The upstreams of a namespace: asked in their order, left alone for a while when they do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteBlob, Upstream

T = TypeVar("T")
Tell = Callable[[str, UpstreamError], None]

# The next request would only wait for such a failure again.
_TIRING = ("unreachable", "slow")
# At once: each may have a manifest in memory, a list is one of many requests.
_QUESTIONS = 32
_LISTS = 4
# Who leaves stops no question, so those that wait are counted as well, and do not wait for long.
_MOST_WAITING = 1000
_WAIT_SECONDS = 30.0


class _Turns:
    """Lets so many go on at once, and few enough wait for that."""

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting == _MOST_WAITING:
            reason = f"{_MOST_WAITING} requests wait already for what they are asked"
            raise UpstreamError("the upstreams", reason, "slow")
        self._waiting += 1
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            reason = f"for {_WAIT_SECONDS:g} s it was not our turn, since others wait for answers"
            raise UpstreamError("the upstreams", reason, "slow") from None
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._turns.release()


class Upstreams:
    """Where a namespace's content comes from; `clock` is monotonic, `rest_seconds` is for how long one that
    does not answer is left alone.

    `tell` hears of every failure, and which of the upstreams it was that failed; the error may name the host
    of a store or a token service that it sent to.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        *,
        clock: Callable[[], float],
        tell: Tell,
        rest_seconds: float,
    ) -> None:
        self.each = tuple(upstreams)
        self._clock = clock
        self._tell = tell
        self._rest_seconds = rest_seconds
        # Until when each is left alone, and for what.
        self._resting: dict[Upstream, tuple[float, UpstreamError]] = {}
        self._questions = _Turns(_QUESTIONS)
        self._lists = _Turns(_LISTS)

    @property
    def hosts(self) -> str:
        """All of them, for what cannot be said of one."""
        return ", ".join(upstream.host for upstream in self.each)

    async def ask(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        """The first answer. Raises UpstreamError: `absent` only if no upstream has it."""
        async with self._questions:
            return await self._ask(question)

    async def ask_for_pages(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        """The same for what comes in pages, so that those who want but a manifest do not wait for it."""
        async with self._lists:
            return await self._ask(question)

    @asynccontextmanager
    async def blob(self, name: RepositoryName, digest: Digest, start: int) -> AsyncIterator[RemoteBlob]:
        """A blob from the byte `start` on, from the first upstream that gives it. Raises UpstreamError.

        What goes wrong while it comes is noted, too.
        """
        asked: list[Upstream] = []
        async with AsyncExitStack() as opened:

            def opening(upstream: Upstream) -> Awaitable[RemoteBlob]:
                asked.append(upstream)
                return opened.enter_async_context(upstream.blob(name, digest, start))

            blob = await self.ask(opening)
            try:
                yield blob
            except UpstreamError as error:
                self._tell(asked[-1].host, error)
                raise

    def lied(self, reason: str) -> UpstreamError:
        """What to say of content that is wrong; which of several upstreams it was cannot be told."""
        error = UpstreamError(self.hosts, reason, "lying")
        self._tell(self.hosts, error)
        return error

    async def _ask(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        failures = []
        for upstream in self.each:
            until, resting = self._resting.get(upstream, (0.0, None))
            if resting is not None and (left := until - self._clock()) > 0:
                failures.append(resting.again(left))
                continue
            try:
                answer = await question(upstream)
            except UpstreamError as failure:
                self._tell(upstream.host, failure)
                self._resting[upstream] = (self._clock() + self._rest(upstream, failure), failure.again())
                failures.append(failure.again())
            else:
                self._resting.pop(upstream, None)
                return answer
        if not failures:
            raise UpstreamError(
                "the namespace", "it has no upstreams, and gives what was brought here", "absent"
            )
        raise next((one for one in failures if one.cause != "absent"), failures[0])

    def _rest(self, upstream: Upstream, failure: UpstreamError) -> float:
        """For how long to leave an upstream alone, in seconds."""
        if failure.cause == "limited":
            return failure.retry_after_seconds or 0.0
        # A store that it sends to may be out of reach, and others of its blobs lie elsewhere.
        return self._rest_seconds if failure.cause in _TIRING and failure.host == upstream.host else 0.0
