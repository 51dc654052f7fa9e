"""Where the trail's lines go: a file that several processes share and others may rotate, or the log."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from registry import logs
from registry.access.audit.chain import Line
from registry.access.audit.trail import Sink
from storage.patience import Patience

_LOG = logging.getLogger(__name__)
_MODE = 0o640
# What people read of a line in the log: who did what, and how it ended. The rest is for verification.
_SHOWN = (
    *("event", "who", "repository", "tag", "digest", "replaced", "detail", "outcome", "rule", "address"),
    *("request", "lost"),
)
_CAPACITY = 10_000  # lines that wait for a slow disk
_END_SECONDS = 2.0


class AuditUnwritable(Exception):
    """The audit file cannot be written; the text says why."""


class AuditLog:
    """Lines as events of the ordinary log, at whatever level that is kept."""

    lost = 0

    def __init__(self) -> None:
        self._logger = logging.getLogger(f"{__name__}.noted")
        self._logger.setLevel(logging.INFO)

    def put(self, line: Line) -> None:
        """Log a line; one that nobody reads in time is missing in the chain."""
        shown = {name: line[name] for name in _SHOWN if name in line}
        logs.event(self._logger, logging.INFO, "audit.noted", shown=shown, entry=line)

    def end(self) -> None:
        """The log ends by itself."""


class AuditFile:
    """A file to which each line is appended in one write: on the loop, or by a thread while the disk is slow.

    Before each write it is looked whether the name stands for another file by now. Nothing is synced. `tell`
    is called when lines begin to be lost, with the reason, and when the first is written again.
    """

    def __init__(
        self,
        path: str,
        tell: Callable[[str | None, int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[int, bytes], int] = os.write,
        capacity: int = _CAPACITY,
    ) -> None:
        self._path = path
        self._tell = tell
        self._write = write
        self._patience = Patience(clock)
        self._capacity = capacity
        self._descriptor = -1
        self._place: tuple[int, int] | None = None
        self._half_written = False
        self._failing = False
        self._lost = 0
        # What the thread and the loop share is the queue; while there is something in it, only the thread
        # touches the rest.
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._lost

    def open(self) -> None:
        """See that the file can be written. Raises AuditUnwritable."""
        try:
            self._reopen()
        except OSError as error:
            raise AuditUnwritable(
                f"the audit file {self._path} (audit.file) cannot be written: {error.strerror}"
            ) from error

    def put(self, line: Line) -> None:
        """Append a line, or count it."""
        data = f"{logs.in_json(line)}\n".encode()
        with self._changed:
            if self._queue or self._patience.exhausted:
                if len(self._queue) >= self._capacity:
                    self._lose("the disk is too slow")
                    return
                self._queue.append(data)
                self._begin_thread()
                self._changed.notify_all()
                return
        began = self._patience.clock()
        self._append(data)
        self._patience.took(began)

    def end(self) -> None:
        """Wait for what is queued, not for long, and close."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._queue, _END_SECONDS):
                return
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._empty, name="audit", daemon=True)
            self._thread.start()

    def _empty(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                data = self._queue[0]
            self._append(data)
            with self._changed:
                # Not before it is written: until then the loop must not write.
                self._queue.popleft()
                self._changed.notify_all()

    def _append(self, data: bytes) -> None:
        try:
            self._reopen()
            # What could not be written to its end must not swallow the beginning of this.
            whole = b"\n" + data if self._half_written else data
            count = self._write(self._descriptor, whole)
            if count < len(whole):
                self._half_written = self._half_written or count > 0
                raise OSError(0, "no room left")
            self._half_written = False
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        with self._changed:
            if self._failing and len(self._queue) <= 1:
                self._failing = False
                self._tell(None, self._lost)

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._lost += 1
            if not self._failing:
                self._failing = True
                self._tell(reason, self._lost)

    def _reopen(self) -> None:
        """Open the file that the name stands for, unless it is open. Raises OSError."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            pass
        else:
            if self._place == (found.st_dev, found.st_ino):
                return
        # A pipe without a reader would wait for one.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, _MODE)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no regular file")
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._place = descriptor, (status.st_dev, status.st_ino)
        self._half_written = False


def open_sink(path: Path | None, tell: Callable[[str | None, int], None], *, at_once: bool) -> Sink:
    """The sink that the setting `audit.file` names; a file is opened `at_once` or with its first line.

    Raises AuditUnwritable.
    """
    if path is None:
        return AuditLog()
    sink = AuditFile(str(path), tell)
    if at_once:
        sink.open()
    return sink


def tell_log(reason: str | None, lost: int) -> None:
    """Say in the log that lines are lost (`reason`), or are written again (None)."""
    if reason is None:
        logs.event(_LOG, logging.WARNING, "audit.restored", lines_lost=lost)
    else:
        logs.event(_LOG, logging.ERROR, "audit.failed", reason=reason)
