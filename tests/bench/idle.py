"""How much memory connections take on which nothing happens."""

from __future__ import annotations

import resource
import select
import socket
from contextlib import ExitStack

from tests.bench.connection import Connection
from tests.bench.figures import Figure, Goal, Unit
from tests.bench.memory import resident_mib
from tests.bench.trials import Ground, Trial

# What a process needs beside: the server keeps 256 back for its files.
SPARE_FILES = 512
# 120 MiB for 10,000 of them.
MIB_EACH = 120 / 10_000


def idle(ground: Ground) -> list[Figure]:
    """What the resident set grows by when so many connections have each made one request and stay."""
    number = min(ground.scale.idle, raised() - SPARE_FILES)

    def measure(name: str) -> float:
        with ground.server(name) as server, ExitStack() as stack:
            asked(stack, server.host_port)
            before = resident_mib(server.pid)
            kept = [asked(stack, server.host_port) for _ in range(number)]
            found = resident_mib(server.pid) - before
            if closed := gone(kept):
                raise AssertionError(f"{name} has closed {closed} of {number} idle connections")
            return max(0.0, found)

    rounds = ground.rounds("idle-memory", ground.scale.repeats, measure)
    goal = Goal(MIB_EACH * number, of_ratio=False)
    return [Figure("idle-memory", f"more with {number} idle connections", Unit("MiB"), rounds, goal)]


def raised() -> int:
    """How many files this process may open, the limit raised to the hard one; the servers do the same."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def asked(stack: ExitStack, host_port: str) -> socket.socket:
    """A connection on which one request was made and answered."""
    connection = Connection(host_port)
    connection.ask("GET", "/v2/", 200)
    return stack.enter_context(connection.detach())


def gone(connections: list[socket.socket]) -> int:
    """How many of them the server has closed."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return len(poll.poll(0))


TRIALS = (Trial(("idle-memory",), idle),)
