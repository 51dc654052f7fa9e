"""The parent of workers: forks them, restarts the dead, passes on the end, and does nothing else."""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from registry import logs
from registry.logs import event
from registry.server.application import Application, StartFailed
from registry.server.listeners import Listener
from registry.server.settings import LogSettings, ServerSettings
from registry.server.worker import HURRY, READY, STOP, work

logger = logging.getLogger(__name__)

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_LISTENED_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
# A worker that dies again and again is started after 0.1, 0.2, 0.4 … 30 seconds; one that lived, after 0.1.
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _LIVED_SECONDS = 0.1, 30.0, 60.0


def delay_after(deaths: int) -> float:
    """How many seconds to wait before a worker is started that has died so often; it is never given up."""
    # Doubled for as long as it matters: after a thousand deaths the number would be too large for a float.
    return min(_FIRST_DELAY_SECONDS * (1 << min(deaths, 16)), _LONGEST_DELAY_SECONDS)


@dataclass(eq=False, slots=True)
class _Worker:
    """A place among the workers, and who fills it: nobody while `pid` is None."""

    number: int
    pid: int | None = None
    channel: socket.socket | None = None
    heard: bytes = b""
    started_at: float = 0.0
    due_at: float = 0.0
    deaths: int = 0


class Parent:
    """Holds the listening sockets, which the workers inherit, so that no connection is lost with a worker.

    Between parent and worker lies a socket pair. The worker says on it that it is ready, or why it could not
    start; the parent that it shall stop; and when either end closes, the other side is gone. Nothing here
    waits for anything but the selector.
    """

    def __init__(
        self,
        settings: ServerSettings,
        log: LogSettings,
        listeners: Sequence[Listener],
        build: Callable[[], Application],
        on_ready: Callable[[Mapping[str, str]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._log = log
        self._listeners = listeners
        self._build = build
        self._on_ready = on_ready
        self._clock = clock
        self._workers = [_Worker(number) for number in range(settings.workers)]
        self._selector = selectors.DefaultSelector()
        self._ready = False
        self._signals = 0
        self._failure: str | None = None

    def run(self) -> int:
        """Keep the workers running until told to end; `StartFailed` when the first ones could not start."""
        with logs.writing(self._log.format, self._log.level, threaded=False), self._metrics(), self._awake():
            while self._signals == 0 or any(worker.pid for worker in self._workers):
                if self._signals == 0:
                    self._fill_places()
                for key, _ in self._selector.select(self._until_due()):
                    key.data(key.fileobj)
                self._bury_dead()
        if self._failure is not None:
            raise StartFailed(self._failure)
        return 0 if self._signals <= 2 else 1

    def _until_due(self) -> float | None:
        if self._signals:
            return None
        empty = [worker.due_at for worker in self._workers if worker.pid is None]
        return max(0.0, min(empty) - self._clock()) if empty else None

    def _fill_places(self) -> None:
        for worker in self._workers:
            if worker.pid is None and worker.due_at <= self._clock():
                self._fork(worker)

    def _fork(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A signal between fork and the worker's own handlers would be taken by ours, in the wrong process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _LISTENED_TO)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._forget()
            work(self._settings, self._log, self._listeners, self._build, theirs, os.environ[_METRICS])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LISTENED_TO)
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.channel, worker.heard, worker.started_at = pid, ours, b"", self._clock()
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._hear(worker))
        event(logger, logging.INFO, "worker.started", worker=worker.number, pid=pid)

    def _forget(self) -> None:
        """In the child: let go of what is the parent's, or the other workers would not see the parent die."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C at a terminal goes to all processes; that it came is the parent's to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.close()
        self._selector.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LISTENED_TO)

    def _hear(self, worker: _Worker) -> None:
        assert worker.channel is not None
        try:
            said = worker.channel.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        worker.heard += said
        if not said:
            self._selector.unregister(worker.channel)
        if worker.heard == READY and not self._ready:
            self._ready = True
            self._on_ready({one.name: one.url for one in self._listeners})

    def _bury_dead(self) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._bury(worker, pid, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, pid: int, code: int) -> None:
        assert worker.channel is not None
        if worker.channel in self._selector.get_map():
            self._hear(worker)
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()
        worker.pid = worker.channel = None
        if self._signals:
            return
        if not self._ready:
            reason = worker.heard.decode("utf-8", "replace")
            self._failure = reason or f"a worker ended while it started, with exit code {code}"
            self._end()
            return
        # Its gauges count no more; what it counted does.
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        worker.deaths = 0 if self._clock() - worker.started_at > _LIVED_SECONDS else worker.deaths
        delay = delay_after(worker.deaths)
        worker.due_at = self._clock() + delay
        worker.deaths += 1
        reason = worker.heard.removeprefix(READY).decode("utf-8", "replace")
        event(
            logger,
            logging.ERROR if code else logging.WARNING,
            "worker.died",
            worker=worker.number,
            pid=pid,
            code=code,
            reason=reason or None,
            restart_seconds=delay,
        )

    def _end(self) -> None:
        """Told to end: first in order, then without waiting, then at once."""
        self._signals += 1
        # The workers hold the sockets for as long as they take connections; then the kernel must refuse more.
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            if worker.pid is None or worker.channel is None:
                continue
            if self._signals > 2:
                os.kill(worker.pid, signal.SIGKILL)
                continue
            try:
                worker.channel.send(STOP if self._signals == 1 else HURRY)
            except OSError:
                # It is dying already.
                continue

    @contextmanager
    def _metrics(self) -> Iterator[None]:
        """A fresh directory in which the workers count, named before any of them imports the library."""
        before = os.environ.get(_METRICS)
        os.environ[_METRICS] = directory = tempfile.mkdtemp(prefix="moorage-metrics-")
        try:
            yield
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            del os.environ[_METRICS]
            if before is not None:
                os.environ[_METRICS] = before

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Let signals wake the selector: the kernel's numbers arrive as bytes on a socket."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ, self._obey)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _LISTENED_TO}
        descriptor = signal.set_wakeup_fd(writer.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _obey(self, reader: socket.socket) -> None:
        for number in reader.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._end()
