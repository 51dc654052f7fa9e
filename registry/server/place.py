"""A place among the workers, and the process that fills it at the moment."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass

from registry.server.renewal import Veteran
from registry.server.worker import HURRY, READY, RETIRE, STOP

# A worker that dies again and again is started after 0.1, 0.2, 0.4 … 30 seconds; one that lived, after 0.1.
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _LIVED_SECONDS = 0.1, 30.0, 60.0
# A worker that was relieved ends with its grace at the second renewal after, and without at the third.
_MOST_RENEWALS = 2


def delay_after(deaths: int) -> float:
    """How many seconds to wait before a worker is started that has died so often; it is never given up."""
    # Doubled for as long as it matters: after a thousand deaths the number would be too large for a float.
    return min(_FIRST_DELAY_SECONDS * (1 << min(deaths, 16)), _LONGEST_DELAY_SECONDS)


@dataclass(eq=False, slots=True)
class Place:
    """One worker's place, with the parent's end of its channel; nobody fills it while `pid` is None."""

    number: int
    pid: int | None = None
    channel: socket.socket | None = None
    heard: bytes = b""
    retired: bool = False
    renewals: int = 0
    started_at: float = 0.0
    due_at: float = 0.0
    deaths: int = 0

    def fill(self, pid: int, channel: socket.socket, now: float) -> None:
        """A process begins to work here."""
        channel.setblocking(False)
        self.pid, self.channel, self.heard, self.started_at = pid, channel, b"", now

    def inherit(self, worker: Veteran, now: float) -> None:
        """A worker of the program before goes on here."""
        self.fill(worker.pid, socket.socket(fileno=worker.channel), now)
        self.heard = READY if worker.ready else b""
        self.retired = worker.retired
        self.renewals = worker.renewals + 1 if worker.retired else 0

    def leave(self) -> Veteran | None:
        """What the next program has to know of who is here."""
        if self.pid is None or self.channel is None:
            return None
        return Veteran(self.pid, self.channel.fileno(), self.ready, self.retired, self.renewals)

    def retire(self) -> None:
        """Another has the place of the worker, who finishes what it has begun."""
        self.retired = True
        self.tell(RETIRE)

    def hear(self) -> bytes | None:
        """What the worker says; nothing when it will say no more, None when it says nothing now."""
        assert self.channel is not None
        try:
            said = self.channel.recv(65536)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""
        self.heard += said
        return said

    def tell(self, what: bytes) -> None:
        """Say something to the worker, who may be dying already."""
        if self.channel is not None:
            try:
                self.channel.send(what)
            except OSError:
                return

    def hurry(self) -> None:
        """Nobody stays for more than two renewals, or each would leave workers behind for slow clients."""
        if self.renewals >= _MOST_RENEWALS:
            self.tell(STOP if self.renewals == _MOST_RENEWALS else HURRY)

    def kill(self) -> None:
        """End the worker at once."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    @property
    def ready(self) -> bool:
        """Whether a worker answers requests here."""
        return self.pid is not None and self.heard == READY

    @property
    def reason(self) -> str | None:
        """What the worker said besides that it is ready."""
        return self.heard.removeprefix(READY).decode("utf-8", "replace") or None

    def bury(self, now: float) -> float:
        """Nobody is here any more; the seconds after which somebody shall be."""
        assert self.channel is not None
        self.channel.close()
        self.pid = self.channel = None
        self.deaths = 0 if now - self.started_at > _LIVED_SECONDS else self.deaths
        delay = delay_after(self.deaths)
        self.due_at = now + delay
        self.deaths += 1
        return delay
