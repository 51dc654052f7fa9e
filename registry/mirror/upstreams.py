"""The upstreams of a namespace: asked in their order, left alone for a while when they do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from registry.mirror.memory import Memory
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteBlob, Upstream

T = TypeVar("T")
Tell = Callable[[str, UpstreamError], None]

# The next request would only wait for such a failure again.
_TIRING = ("unreachable", "slow")
# For how long one that broke off a blob, or gave another, is asked for that behind the others.
_DOUBT_SECONDS = 600.0
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
        # Of each blob, those that are asked for it last, in this order.
        self._doubted = Memory[tuple[Upstream, ...]](_DOUBT_SECONDS, clock)
        self._questions = _Turns(_QUESTIONS)
        self._lists = _Turns(_LISTS)

    @property
    def hosts(self) -> str:
        """All of them, for what cannot be said of one."""
        return hosts_of(self.each)

    async def ask(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        """The first answer. Raises UpstreamError: `absent` only if no upstream has it."""
        async with self._questions:
            return await self._ask(question, self.each)

    async def ask_for_pages(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        """The same for what comes in pages, so that those who want but a manifest do not wait for it."""
        async with self._lists:
            return await self._ask(question, self.each)

    @asynccontextmanager
    async def blob(
        self, name: RepositoryName, digest: Digest, start: int
    ) -> AsyncIterator[tuple[Upstream, RemoteBlob]]:
        """A blob from the byte `start` on, from the first upstream that gives it. Raises UpstreamError.

        Those that have lately failed to give it are asked behind the others. What goes wrong while it comes
        is noted, too.
        """
        async with AsyncExitStack() as opened:

            async def opening(upstream: Upstream) -> tuple[Upstream, RemoteBlob]:
                try:
                    return upstream, await opened.enter_async_context(upstream.blob(name, digest, start))
                except UpstreamError:
                    self._doubt(upstream, digest)
                    raise

            doubted = self._doubted.get(digest) or ()
            async with self._questions:
                upstream, blob = await self._ask(
                    opening, (*(one for one in self.each if one not in doubted), *doubted)
                )
            try:
                yield upstream, blob
            except UpstreamError as error:
                self._tell(upstream.host, error)
                self._doubt(upstream, digest)
                raise

    def lied(self, reason: str) -> UpstreamError:
        """What to say of content that is wrong; which of several upstreams it was cannot be told."""
        return self._lied(self.each, reason)

    def lied_about(self, digest: Digest, givers: Sequence[Upstream], reason: str) -> UpstreamError:
        """The same of a blob, which those have given together."""
        for upstream in givers:
            self._doubt(upstream, digest)
        return self._lied(givers, reason)

    def _lied(self, those: Sequence[Upstream], reason: str) -> UpstreamError:
        error = UpstreamError(hosts_of(those), reason, "lying")
        self._tell(error.host, error)
        return error

    def _doubt(self, upstream: Upstream, digest: Digest) -> None:
        others = (one for one in self._doubted.get(digest) or () if one is not upstream)
        self._doubted.put(digest, (*others, upstream))

    async def _ask(self, question: Callable[[Upstream], Awaitable[T]], order: Sequence[Upstream]) -> T:
        failures = []
        for upstream in order:
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


def hosts_of(upstreams: Iterable[Upstream]) -> str:
    """Their hosts, as errors and reports name them."""
    return ", ".join(upstream.host for upstream in upstreams)
