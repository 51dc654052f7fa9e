"""How many upload sessions there are, known well enough without looking at each request."""

from __future__ import annotations

from datetime import datetime, timedelta

from registry.errors import TooManyRequests
from registry.store.effects import Effects
from registry.store.sessions import Sessions

_AGAIN = timedelta(seconds=10)


class Census:
    """The bound on upload sessions, as one process keeps it.

    It counts what it begins and ends itself, on top of what it last found in the store; the other processes
    do likewise. So all together may overshoot by what the others begin between two looks. It looks when the
    bound seems near, at most once in ten seconds, and never at more names than the bound.
    """

    def __init__(self, sessions: Sessions, effects: Effects, most: int) -> None:
        self._sessions = sessions
        self._effects = effects
        self._most = most
        self._count = 0
        self._looked_at: datetime | None = None

    async def enter(self) -> None:
        """Count a session that is about to begin. Raises TooManyRequests."""
        if self._near():
            await self._look()
        if self._count >= self._most:
            raise TooManyRequests(
                f"{self._count} uploads are open already; finish or cancel some, or try again later",
                headers={"Retry-After": "60"},
            )
        self._count += 1

    def leave(self) -> None:
        """A session has ended, whoever began it."""
        self._count = max(0, self._count - 1)

    async def crowded(self) -> bool:
        """Whether nine tenths of the sessions that there may be exist."""
        self._looked_at = None
        await self._look()
        return self._near()

    def _near(self) -> bool:
        return self._count >= self._most - self._most // 10

    async def _look(self) -> None:
        now = self._effects.now()
        if self._looked_at is None or now - self._looked_at >= _AGAIN:
            self._looked_at = now
            self._count = len(await self._sessions.uuids(limit=self._most))
