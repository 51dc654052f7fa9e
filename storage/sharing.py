"""A number of bytes divided among those that need memory at the moment."""

from __future__ import annotations

from types import TracebackType


class Share:
    """One budget of `total_bytes`, of which each present user may take `bytes`: fewer, the more they are.

    A share is never below `least`: with more users than the budget has such shares, memory grows with them.
    """

    def __init__(self, total_bytes: int, *, least: int, most: int) -> None:
        self._total = total_bytes
        self._least = least
        self.most = most
        self._users = 0
        self.bytes = most

    def __enter__(self) -> Share:
        self._change(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        self._users += by
        self.bytes = max(self._least, min(self.most, self._total // max(1, self._users)))
