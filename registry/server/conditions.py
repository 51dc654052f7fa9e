"""What the connections of one listener share: times, their number, and the memory that they read into."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from registry.server.connections import Connections
from registry.server.heads import Heads
from registry.server.settings import TimeoutSettings
from storage.sharing import Share

_READ_BYTES = 1 << 20
_RECEIVED_BYTES = 16 << 20
_LEAST_READ_BYTES = 16 << 10
_MOST_QUEUED_BYTES = 1 << 20
# What a turn of the loop sends of files: some milliseconds' worth, since a call copies all that is taken.
_SENT_BYTES = 16 << 20
_LEAST_SENT_BYTES = 512 << 10
_MOST_SENT_BYTES = 4 << 20
# In the kernel, for clients that do not take it; where few are sent to it is as ready as the kernel likes.
_UNSENT_BYTES = 64 << 20
_LEAST_UNSENT_BYTES = 64 << 10
_MOST_UNSENT_BYTES = 4 << 20
_ENCRYPTED_BYTES = 8 << 20
_LEAST_ENCRYPTED_BYTES = 64 << 10
_MOST_ENCRYPTED_BYTES = 1 << 20


@dataclass(frozen=True)
class Conditions:
    """Given to every connection of a listener.

    They all read into the one `buffer`: it is empty again before the loop turns to the next.
    """

    timeouts: TimeoutSettings
    connections: Connections
    share: Share = field(
        default_factory=lambda: Share(_RECEIVED_BYTES, least=_LEAST_READ_BYTES, most=_MOST_QUEUED_BYTES)
    )
    heads: Heads = field(default_factory=Heads)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(_READ_BYTES)))
    windows: Share = field(
        default_factory=lambda: Share(_SENT_BYTES, least=_LEAST_SENT_BYTES, most=_MOST_SENT_BYTES)
    )
    unsent: Share = field(
        default_factory=lambda: Share(_UNSENT_BYTES, least=_LEAST_UNSENT_BYTES, most=_MOST_UNSENT_BYTES)
    )
    slices: Share = field(
        default_factory=lambda: Share(
            _ENCRYPTED_BYTES, least=_LEAST_ENCRYPTED_BYTES, most=_MOST_ENCRYPTED_BYTES
        )
    )
    fetchers: Executor = field(default_factory=lambda: ThreadPoolExecutor(8, thread_name_prefix="fetch"))
