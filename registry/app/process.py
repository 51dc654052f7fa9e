"""How other processes know this one."""

from __future__ import annotations

import os
import socket


def process() -> str:
    """The name that leases and reports have of this process."""
    return f"process {os.getpid()} on {socket.gethostname()}"
