"""How many files and sockets this process may have open.

The parent of workers imports this, so nothing here needs asyncio.
"""

from __future__ import annotations

import resource

# What is kept for everything that is no connection of a client: files of the store, the log, other listeners.
RESERVED = 256
# A hard limit that says "unlimited" is not: these are Linux's usual bound, and macOS's.
_MANY = (1 << 20, 10_240)


def raise_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; how many there may be now.

    A shell's usual 1024 is meant for programs that hand all of theirs to select(2), which takes no more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in _MANY if hard == resource.RLIM_INFINITY else (hard,):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            continue
        return wanted
    return soft if soft != resource.RLIM_INFINITY else _MANY[-1]


def most_connections(limit: int) -> int:
    """How many connections a process may have that may have `limit` descriptors open."""
    return max(limit - RESERVED, limit // 2)
