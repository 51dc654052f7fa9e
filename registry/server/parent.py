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
from typing import NoReturn

from registry import logs
from registry.logs import event
from registry.server.application import Application, StartFailed
from registry.server.listeners import Listener, Missing
from registry.server.place import Place
from registry.server.renewal import Estate, Renewal, Sockets, Trial
from registry.server.settings import LogSettings, ServerSettings
from registry.server.worker import HURRY, REFUSED, STOP, work

logger = logging.getLogger(__name__)

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_LISTENED_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Parent:
    """Holds the listening sockets, which the workers inherit, so that no connection is lost with a worker.

    Between parent and worker lies a socket pair. The worker says on it that it is ready, or why it could not
    start; the parent that it shall stop; and when either end closes, the other side is gone. Nothing here
    waits for anything but the selector.

    HUP has the parent become the program anew, once a trial has found that it would start (`renewal`). Then
    each worker that gets ready relieves one of the program before, whose parent this process still is.
    """

    def __init__(
        self,
        settings: ServerSettings,
        log: LogSettings,
        listeners: Sequence[Listener],
        build: Callable[[], Application],
        on_ready: Callable[[Mapping[str, str]], None],
        renewal: Renewal | None = None,
        estate: Estate | None = None,
        missing: Sequence[Missing] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._log = log
        self._listeners = listeners
        self._build = build
        self._on_ready = on_ready
        self._clock = clock
        self._renewal = renewal
        self._estate = estate
        self._missing = missing
        self._trial: Trial | None = None
        self._asked_again = False
        self._workers = [Place(number) for number in range(settings.workers)]
        self._veterans: list[Place] = []
        self._selector = selectors.DefaultSelector()
        self._ready = False
        self._signals = 0
        self._failure: str | None = None
        self._refused = False
        # There it means that the person has gone.
        self._at_terminal = os.isatty(0)

    def run(self) -> int:
        """Keep the workers running until told to end; `StartFailed` when the first ones could not start."""
        with logs.writing(self._log.format, self._log.level, threaded=False), self._metrics(), self._awake():
            self._adopt()
            while self._signals == 0 or any(place.pid for place in self._everybody):
                if self._signals == 0:
                    self._fill_places()
                for key, _ in self._selector.select(self._until_due()):
                    key.data(key.fileobj)
                self._bury_dead()
                self._judge_trial()
        if self._failure is not None:
            raise StartFailed(self._failure, refused=self._refused)
        return 0 if self._signals <= 2 else 1

    @property
    def _everybody(self) -> list[Place]:
        return [*self._workers, *self._veterans]

    def _adopt(self) -> None:
        if self._estate is None:
            return
        if self._renewal and self._renewal.refused is not None:
            event(logger, logging.ERROR, "renewal.refused", reason=self._renewal.refused)
        for worker in self._estate.workers:
            place = Place(len(self._workers) + len(self._veterans))
            place.inherit(worker, self._clock())
            place.hurry()
            self._veterans.append(place)
            self._listen_to(place)
        if any(place.ready and not place.retired for place in self._veterans):
            # Who is not ready has relieved nobody, and would be one too many.
            for place in self._veterans:
                if not place.ready:
                    place.retire()
        for one in self._missing:
            event(logger, logging.ERROR, "listener.missing", listener=one.name, reason=one.reason)
        written = {one.name: one.listen for one in self._settings.listeners}
        for listener in self._listeners:
            wanted = written[listener.name]
            if listener.address != wanted:
                event(
                    logger,
                    logging.WARNING,
                    "address.kept",
                    listener=listener.name,
                    address=listener.address,
                    reason=f"changing it to {wanted} takes a restart",
                )
        # Of those that have ended meanwhile no signal is left.
        self._bury_dead()

    def _until_due(self) -> float | None:
        if self._signals:
            return None
        due = [worker.due_at for worker in self._workers if worker.pid is None]
        if self._trial is not None and self._trial.due_at is not None:
            due.append(self._trial.due_at)
        return max(0.0, min(due) - self._clock()) if due else None

    def _fill_places(self) -> None:
        for worker in self._workers:
            if worker.pid is None and worker.due_at <= self._clock():
                self._fork(worker)

    def _fork(self, worker: Place) -> None:
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
        worker.fill(pid, ours, self._clock())
        self._listen_to(worker)
        event(logger, logging.INFO, "worker.started", worker=worker.number, pid=pid)

    def _listen_to(self, place: Place) -> None:
        assert place.channel is not None
        self._selector.register(place.channel, selectors.EVENT_READ, lambda _: self._hear(place))

    def _forget(self) -> None:
        """In the child: let go of what is the parent's, or the other workers would not see the parent die."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C at a terminal, and its end, go to all processes; that they came is the parent's to say.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for worker in self._everybody:
            if worker.channel is not None:
                worker.channel.close()
        self._selector.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LISTENED_TO)

    def _hear(self, place: Place) -> None:
        said = place.hear()
        if said is None:
            return
        if not said:
            self._selector.unregister(place.channel)  # type: ignore[arg-type]
        elif place.ready and not place.retired and place in self._workers:
            self._welcome()

    def _welcome(self) -> None:
        """One more worker is ready: it relieves one of the program before, the last one all that remain."""
        if not self._ready:
            self._ready = True
            self._on_ready({one.name: one.url for one in self._listeners})
        serving = [place for place in self._veterans if not place.retired]
        complete = all(place.ready for place in self._workers)
        for place in serving if complete else serving[:1]:
            place.retire()
        if complete and serving:
            event(logger, logging.INFO, "server.renewed", pid=os.getpid())

    def _bury_dead(self) -> None:
        for place in self._everybody:
            if place.pid is not None:
                pid, status = os.waitpid(place.pid, os.WNOHANG)
                if pid:
                    self._bury(place, pid, os.waitstatus_to_exitcode(status))

    def _bury(self, place: Place, pid: int, code: int) -> None:
        assert place.channel is not None
        if place.channel in self._selector.get_map():
            self._hear(place)
        if place.channel in self._selector.get_map():
            self._selector.unregister(place.channel)
        was_ready, reason = self._ready, place.reason
        delay = place.bury(self._clock())
        if place in self._veterans:
            self._veterans.remove(place)
            self._forget_gauges(pid)
        elif self._signals:
            return
        elif not was_ready and not self._veterans:
            self._refused = reason is not None and code == REFUSED
            self._failure = reason or f"a worker ended while it started, with exit code {code}"
            self._end()
        else:
            self._forget_gauges(pid)
            event(
                logger,
                logging.ERROR if code else logging.WARNING,
                "worker.died",
                worker=place.number,
                pid=pid,
                code=code,
                reason=reason,
                restart_seconds=delay,
            )

    def _forget_gauges(self, pid: int) -> None:
        """A dead worker's gauges count no more; what it counted does."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]

    def _try_renewal(self) -> None:
        if self._signals:
            return
        if self._trial is not None:
            # It may have read already what has been changed since.
            self._asked_again = True
            return
        if self._renewal is None:
            event(logger, logging.WARNING, "renewal.refused", reason="this server was not told how")
            return
        try:
            self._trial = Trial(self._renewal, self._clock())
        except OSError as error:
            # The program may be away just now, while it is being replaced.
            event(logger, logging.ERROR, "renewal.refused", reason=str(error))

    def _judge_trial(self) -> None:
        if self._trial is None or (problem := self._trial.problem(self._clock())) is None:
            return
        self._trial = None
        if not problem:
            # Had it been asked for again meanwhile: the next program reads everything anew.
            try:
                self._hand_over()
            except OSError as error:
                problem = str(error)
        event(logger, logging.ERROR, "renewal.refused", reason=problem)
        if self._asked_again:
            self._asked_again = False
            self._try_renewal()

    def _hand_over(self) -> NoReturn:
        assert self._renewal is not None
        sys.stdout.flush()
        sys.stderr.flush()
        estate = Estate(
            {
                one.name: Sockets(one.address, tuple(sock.fileno() for sock in one.sockets))
                for one in self._listeners
            },
            [
                veteran
                for place in (*self._veterans, *self._workers)
                if (veteran := place.leave()) is not None
            ],
            os.environ[_METRICS],
            self._renewal.settings,
        )
        estate.hand_over(self._renewal.serve)

    def _end(self) -> None:
        """Told to end: first in order, then without waiting, then at once."""
        self._signals += 1
        if self._trial is not None:
            self._trial.abandon()
            self._trial = None
        # The workers hold the sockets for as long as they take connections; then the kernel must refuse more.
        for listener in self._listeners:
            listener.close()
        for place in self._everybody:
            if self._signals > 2:
                place.kill()
            else:
                place.tell(STOP if self._signals == 1 else HURRY)

    @contextmanager
    def _metrics(self) -> Iterator[None]:
        """A fresh directory in which the workers count, named before any of them imports the library."""
        before = os.environ.get(_METRICS)
        directory = self._estate.metrics if self._estate else tempfile.mkdtemp(prefix="moorage-metrics-")
        os.environ[_METRICS] = directory
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
        # Held back while this process became the program that it is now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LISTENED_TO)
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
            if number in (signal.SIGTERM, signal.SIGINT) or (number == signal.SIGHUP and self._at_terminal):
                self._end()
            elif number == signal.SIGHUP:
                self._try_renewal()
