"""The upstreams of a namespace: asked in their order, left alone for a while when they do not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteBlob, Upstream

T = TypeVar("T")

# After a failure that the next request would only wait for again.
_REST_SECONDS = 10.0
_TIRING = ("unreachable", "slow")


class Upstreams:
    """Where a namespace's content comes from; `clock` is monotonic, `tell` hears of every failure."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        *,
        clock: Callable[[], float],
        tell: Callable[[UpstreamError], None],
    ) -> None:
        self.each = tuple(upstreams)
        self._clock = clock
        self._tell = tell
        # Until when each is left alone, and for what.
        self._resting: dict[Upstream, tuple[float, UpstreamError]] = {}
        self.last_failure: dict[str, UpstreamError] = {}

    async def ask(self, question: Callable[[Upstream], Awaitable[T]]) -> T:
        """The first answer. Raises UpstreamError: `absent` only if no upstream has it."""
        failures = []
        for upstream in self.each:
            until, error = self._resting.get(upstream, (0.0, None))
            if error is not None and self._clock() < until:
                failures.append(error)
                continue
            try:
                answer = await question(upstream)
            except UpstreamError as failure:
                self.failed(failure)
                if failure.cause in _TIRING:
                    self._resting[upstream] = (self._clock() + _REST_SECONDS, failure)
                failures.append(failure)
            else:
                self._resting.pop(upstream, None)
                self.last_failure.pop(upstream.host, None)
                return answer
        if not failures:
            raise UpstreamError(
                "the namespace", "it has no upstreams, and gives what was brought here", "absent"
            )
        raise next((one for one in failures if one.cause != "absent"), failures[0])

    @asynccontextmanager
    async def blob(self, name: RepositoryName, digest: Digest, start: int) -> AsyncIterator[RemoteBlob]:
        """A blob from the byte `start` on, from the first upstream that gives it. Raises UpstreamError."""
        async with AsyncExitStack() as opened:
            yield await self.ask(
                lambda upstream: opened.enter_async_context(upstream.blob(name, digest, start))
            )

    def failed(self, error: UpstreamError) -> None:
        """Note that an upstream has failed, be it in the middle of an answer."""
        if error.cause != "absent":
            self.last_failure[error.host] = error
        self._tell(error)
