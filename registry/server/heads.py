"""What the heads of requests take in memory: each by itself, and all of a listener together."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors import HeadTooLarge, RegistryError, Unavailable

HEAD_BYTES = 256 << 10
HEADERS = 256
# What a connection may have without asking: nearly all heads are smaller, so that large ones never keep
# those out.
OWN_BYTES = 16 << 10
_ALL_BYTES = 16 << 20
# A header of no length is two objects, their pair and a place in a list; a request that waits, some more.
_HEADER_BYTES = 192
_REQUEST_BYTES = 4 << 10

Headers = Sequence[tuple[bytes, bytes]]


class Heads:
    """The memory for large heads, and for requests that were sent ahead, which few clients have a use for."""

    def __init__(self, most_bytes: int = _ALL_BYTES, *, retry_after_seconds: int = 5) -> None:
        self._most = most_bytes
        self._held = 0
        self._retry_after = retry_after_seconds

    def change(self, held: int, wanted: int) -> int:
        """Hold so much in the place of what is held so far, and return it. Raises Unavailable."""
        more = wanted - held
        if more > 0 and self._held + more > self._most:
            raise Unavailable(
                f"this process holds {self._held} bytes of large heads of requests; "
                f"try again shortly, or send less than {OWN_BYTES} bytes",
                headers={"Retry-After": str(self._retry_after)},
            )
        self._held += more
        return wanted


class Meter:
    """Knows of one connection what its parser keeps until that is whole: a head, or a trailer.

    The parser does not say where in what was read it stands. So what is left over, when all is subtracted
    that is known to be something else, counts as the beginning of the next.
    """

    __slots__ = ("_heads", "_left_over", "framing_bytes", "head_bytes", "held", "trailers")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._left_over = 0  # of what was read last
        self.head_bytes = 0  # of the head that is coming in
        self.framing_bytes = 0  # since there was a piece of a body
        self.trailers: int | None = None  # behind the size of a chunk, which may be that of the last
        self.held = 0  # of the memory for heads

    def read(self, count: int) -> None:
        """So many bytes are about to be parsed."""
        self._left_over = count
        self.framing_bytes += count

    def piece(self, count: int) -> None:
        """A piece of a body was among them, or its end."""
        self._left_over -= count
        self.framing_bytes = 0
        self.trailers = None

    def trailer(self) -> bool:
        """Whether there may be one trailer more."""
        self.trailers = (self.trailers or 0) + 1
        return self.trailers <= HEADERS

    def may_be_large(self, headers: Headers) -> bool:
        """Whether a head that has ended somewhere in what was read could take more than each may have."""
        return self.head_bytes + self._left_over + len(headers) * _HEADER_BYTES > OWN_BYTES

    def whole(self, url: bytes, headers: Headers, *, ahead: bool) -> RegistryError | None:
        """Hold a whole head, of a request that waits for others or not; or why it is refused."""
        size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
        self._left_over -= max(0, size - self.head_bytes)
        if size > HEAD_BYTES:
            return _too_large()
        return self._hold(size + len(headers) * _HEADER_BYTES, more=_REQUEST_BYTES if ahead else 0)

    def unfinished(self, headers: Headers | None, *, fresh: bool) -> RegistryError | None:
        """Hold what has no end in what was read: a head, or without headers, what stands in a body.

        What is fresh began behind the end of something else.
        """
        if headers is not None:
            self.head_bytes = max(self._left_over, 1) if fresh else self.head_bytes + self._left_over
            if self.head_bytes >= HEAD_BYTES:
                return _too_large()
            return self._hold(self.head_bytes + len(headers) * _HEADER_BYTES)
        if self.framing_bytes > HEAD_BYTES:
            # There is no end of trailers.
            return HeadTooLarge(f"between two pieces of the body stand more than {HEAD_BYTES} bytes")
        if self.trailers is None:
            # Of what else stands between chunks the parser keeps nothing.
            return self._hold(0)
        if not self.framing_bytes:
            self.framing_bytes = min(self._left_over, HEAD_BYTES)
        return self._hold(self.framing_bytes)

    def hand_over(self) -> int:
        """What is held, which somebody else holds from now on."""
        held, self.held = self.held, 0
        return held

    def release(self) -> None:
        """Hold nothing."""
        self._hold(0)

    def _hold(self, cost: int, *, more: int = 0) -> RegistryError | None:
        try:
            self.held = self._heads.change(self.held, cost + more if more or cost > OWN_BYTES else 0)
        except Unavailable as error:
            return error
        return None


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the head of the request is larger than {HEAD_BYTES} bytes")
