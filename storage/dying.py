"""File calls of a process that dies at one of them, for finding out what `kill -9` leaves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from storage.files import Files

CHANGES = frozenset(
    {
        *("create", "write", "append", "link", "rename", "unlink"),
        *("make_directory", "make_marked_directory", "unmark", "remove_directory"),
    }
)
"""The calls that change what others see. At any other call, a sync among them, death leaves nothing new."""


class DyingFiles(Files):
    """The real calls, until as many changes as `left` says have been made: then SIGKILL, before the next.

    A write counts as two, so that it is also left half done. While `left` is None nothing dies.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self._lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CHANGES:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self._step()
            return value(*arguments, **options)

        return call

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Append all of `pieces`, in two halves."""
        whole = b"".join(pieces)
        super().write(descriptor, [whole[: len(whole) // 2]])
        self._step()
        super().write(descriptor, [whole[len(whole) // 2 :]])

    def _step(self) -> None:
        with self._lock:
            if self.left is None:
                return
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
            self.left -= 1
