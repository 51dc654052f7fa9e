"""Clients that pull and push slowly, in a process of their own: `python -m tests.bench.trickle PLAN`.

PLAN is JSON. Says `begun` when all have begun, goes on slowly until its input ends, then lets all of them
end as fast as they can, and prints how many clients did not end well, by what went wrong, as JSON.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from tests.bench.connection import TIMEOUT_SECONDS, Connection, Refused
from tests.bench.content import Blob
from tests.bench.idle import raised
from tests.bench.pushing import begin, closing, target

PULL_BYTES_A_SECOND = 10_000
UPLOAD_BYTES_A_SECOND = 2_000
TURN_SECONDS = 0.5
SLICES = 500
LATE_SECONDS = 0.05
AT_ONCE = 16
# Clients far away: with loopback's segments of 64 KiB the kernel alone would hold whole bodies.
SEGMENT_BYTES = 1400
RECEIVE_BYTES = 16 << 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask for what; every upload is new and has `size_bytes`."""

    host_port: str
    repository: str
    pulled: str
    pulls: int
    uploads: int
    size_bytes: int


class Client(Protocol):
    """One slow client, which has begun."""

    def step(self) -> None:
        """A little, without waiting; raises OSError or Refused, as `finish` does."""

    def finish(self) -> None:
        """The rest, to the end."""


class Pull:
    """A GET whose answer is read slowly."""

    def __init__(self, plan: Plan) -> None:
        self._socket = begun(plan, f"GET /v2/{plan.repository}/blobs/{plan.pulled}")
        head, body = answer(self._socket, 200)
        self._left = int(head["content-length"]) - len(body)

    def step(self) -> None:
        """As much as has come in since the last turn, but no more than the rate allows."""
        most = min(self._left, int(PULL_BYTES_A_SECOND * TURN_SECONDS))
        try:
            self._left -= len(received(self._socket, most, socket.MSG_DONTWAIT)) if most else 0
        except BlockingIOError:
            return

    def finish(self) -> None:
        """All that is left."""
        with self._socket:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            while self._left:
                self._left -= len(received(self._socket, min(self._left, 1 << 20)))


class Upload:
    """POST, a streamed PATCH that is sent slowly, PUT."""

    def __init__(self, plan: Plan) -> None:
        self._connect = partial(Connection, plan.host_port)
        self._blob = Blob.of(os.urandom(plan.size_bytes))
        self._bytes = memoryview(self._blob.body[0])
        self._at = 0
        self._unsent = b""
        with self._connect() as connection:
            self._place = begin(connection, plan.repository)
        self._socket = begun(plan, f"PATCH {self._place}", "Transfer-Encoding: chunked\r\n")

    def step(self) -> None:
        """As much as the rate allows, if the kernel takes it."""
        self._take(int(UPLOAD_BYTES_A_SECOND * TURN_SECONDS))
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return

    def finish(self) -> None:
        """All that is left, and the PUT."""
        with self._socket:
            self._take(len(self._bytes))
            self._socket.sendall(self._unsent + b"0\r\n\r\n")
            head, _ = answer(self._socket, 202)
        place = head["location"]
        with self._connect() as connection:
            connection.ask("PUT", closing(target(place), self._blob.digest), 201)

    def _take(self, most: int) -> None:
        piece = self._bytes[self._at : self._at + most]
        if piece:
            self._unsent += b"%x\r\n%b\r\n" % (len(piece), bytes(piece))
            self._at += len(piece)


def main(words: Sequence[str]) -> None:
    """Do as the plan says."""
    raised()
    plan = Plan(**json.loads(words[0]))
    failures: Counter[str] = Counter()
    kinds: list[Callable[[Plan], Client]] = [*[Pull] * plan.pulls, *[Upload] * plan.uploads]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        clients = attempted(pool, [partial(kind, plan) for kind in kinds], failures)
        print("begun", flush=True)
        turns(clients, failures)
        attempted(pool, [client.finish for client in clients], failures)
    print(json.dumps(failures), flush=True)


def turns(clients: list[Client], failures: Counter[str]) -> None:
    """Let each of them do a little in every turn, spread over it, until the input ends."""
    due = time.monotonic()
    place = 0
    while True:
        for client in clients[place::SLICES]:
            try:
                client.step()
            except (OSError, Refused) as problem:
                failures[f"{type(client).__name__}: {problem}"] += 1
                clients.remove(client)
        place = (place + 1) % SLICES
        # Whoever is late catches up, but not in bursts that no real clients make together.
        due = max(due + TURN_SECONDS / SLICES, time.monotonic() - LATE_SECONDS)
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            return


def attempted(pool: ThreadPoolExecutor, works: Sequence[Callable[[], T]], failures: Counter[str]) -> list[T]:
    """What the works give, several at once; those that fail are counted."""
    found = []
    for done in [pool.submit(work) for work in works]:
        try:
            found.append(done.result())
        except (OSError, Refused) as problem:
            failures[str(problem)] += 1
    return found


def begun(plan: Plan, request: str, headers: str = "") -> socket.socket:
    """A connection of a client far away, on which the head of a request has been sent."""
    host, _, port = plan.host_port.rpartition(":")
    connection = socket.socket()
    connection.settimeout(TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.connect((host, int(port)))
    connection.sendall(f"{request} HTTP/1.1\r\nHost: {plan.host_port}\r\n{headers}\r\n".encode())
    return connection


def received(connection: socket.socket, most: int, flags: int = 0) -> bytes:
    """At least a byte."""
    data = connection.recv(most, flags)
    if not data:
        raise Refused("the server closed the connection early")
    return data


def answer(connection: socket.socket, wanted: int) -> tuple[dict[str, str], bytes]:
    """The headers of an answer, and what came of its body with them."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += received(connection, 4096)
    head, _, body = seen.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if int(first.split()[1]) != wanted:
        raise Refused(f"{first}, not {wanted}")
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}, body


if __name__ == "__main__":
    main(sys.argv[1:])
