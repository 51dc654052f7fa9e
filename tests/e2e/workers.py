"""Connections that are known to lie with one worker of a server: the kernel tells who holds the other end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.api.client import Answer, Connection, Headers
from tests.api.server import Server


class Line:
    """Requests to one process of a server, each on a connection that this process holds."""

    def __init__(self, server: Server, pid: int) -> None:
        self.server = server
        self.pid = pid

    def connect(self) -> Connection:
        """A connection that the process has accepted; others are closed until one is."""
        while True:
            connection = Connection(self.server.registry.host_port)
            connection.begin("GET", "/v2/")
            assert connection.answer().status == 200
            if holds(self.pid, connection):
                return connection
            connection.__exit__(None, None, None)

    def ask(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        """One request."""
        fields = dict(headers)
        if body is not None or method in ("POST", "PUT", "PATCH"):
            fields["Content-Length"] = str(len(body or b""))
        with self.connect() as connection:
            connection.begin(method, target, fields)
            connection.send(body or b"")
            return connection.answer()


def lines(servers: Iterable[Server]) -> list[Line]:
    """One line to each process of the servers that answers requests."""
    return [Line(server, pid) for server in servers for pid in workers(server)]


def workers(server: Server) -> list[int]:
    """The processes of a server that answer: its children, or itself where there are none."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(child) for child in children] or [server.pid]


def holds(pid: int, connection: Connection) -> bool:
    """Whether a process holds the server's end of a connection."""
    ours, theirs = connection._socket.getsockname()[1], connection._socket.getpeername()[1]
    return has_end(pid, theirs, ours)


def has_end(pid: int, local: int, remote: int) -> bool:
    """Whether a process holds the end of a connection that has these ports."""
    wanted = f"socket:[{_inode(local, remote)}]"
    folder = Path(f"/proc/{pid}/fd")
    try:
        return any(os.readlink(one) == wanted for one in folder.iterdir())
    except FileNotFoundError:
        return False  # a descriptor, or the process, has just gone


def _inode(local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{local:04X}") and fields[2].endswith(f":{remote:04X}"):
            return fields[9]
    raise AssertionError("the kernel does not know the connection")
