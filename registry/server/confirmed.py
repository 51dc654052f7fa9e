"""Whether a client takes what is sent to it, as its own kernel says."""

from __future__ import annotations

import socket
import sys

# struct tcp_info in <linux/tcp.h>: `tcpi_bytes_acked`, 64 bits.
_OFFSET = 120
_END = 128


def confirmed_bytes(sock: socket.socket) -> int:
    """How many bytes the other side has confirmed so far; 0 where the kernel does not tell."""
    if sys.platform != "linux":
        return 0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _END)
    except OSError:
        return 0
    return int.from_bytes(told[_OFFSET:_END], sys.byteorder)
