"""Who holds a port: read off /proc where there is one, for an error message."""

from __future__ import annotations

import os
from collections.abc import Iterator

_LISTENING = "0A"
_UNKNOWN = "another process"


def holder_of(port: int) -> str:
    """The process listening on the TCP port, as well as this user may know it."""
    for inode, user in _listening(port):
        for process in _processes():
            if inode in _sockets(process):
                return f"process {process} ({_command(process)})"
        return f"a process of uid {user}" if user != os.getuid() else _UNKNOWN
    return _UNKNOWN


def _listening(port: int) -> Iterator[tuple[str, int]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                rows = [line.split() for line in lines][1:]
        except OSError:
            continue
        for row in rows:
            # Columns: number, local address and port in hexadecimal, remote, state, …, user, …, inode.
            if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port:
                yield row[9], int(row[7])


def _processes() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _sockets(process: int) -> set[str]:
    found = set()
    try:
        for number in os.listdir(f"/proc/{process}/fd"):
            target = os.readlink(f"/proc/{process}/fd/{number}")
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        # Another user's process, or one that has just ended.
        pass
    return found


def _command(process: int) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "ended meanwhile"
