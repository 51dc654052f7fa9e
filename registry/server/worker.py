"""A forked worker: serves until the parent says stop, a signal says so, or the parent is gone."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from registry import logs
from registry.logs import event
from registry.server.application import Application, StartFailed
from registry.server.listeners import Listener
from registry.server.settings import LogSettings, ServerSettings

if TYPE_CHECKING:
    # Not above, since the parent imports this module.
    from registry.server.process import Ending

logger = logging.getLogger(__name__)

# Said by the worker: ready, or the reason why not. Said by the parent: stop; stop, another has your place;
# or stop without waiting. A worker of another version takes what it does not know for the first.
READY = b"\x00ready"
STOP = b"s"
RETIRE = b"r"
HURRY = b"h"
# The exit code of a worker that must not start.
REFUSED = 3


def work(
    settings: ServerSettings,
    log: LogSettings,
    listeners: Sequence[Listener],
    build: Callable[[], Application],
    channel: socket.socket,
    metrics: str,
) -> NoReturn:
    """Be a worker until the end of this process, which never returns into what the parent was doing."""
    code = 1
    try:
        with logs.writing(log.format, log.level):
            code = _serve(settings, listeners, build, channel, metrics)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _serve(
    settings: ServerSettings,
    listeners: Sequence[Listener],
    build: Callable[[], Application],
    channel: socket.socket,
    metrics: str,
) -> int:
    # Here and not above, since the parent imports this module.
    import asyncio

    from registry.server.process import Ending, run

    orphaned = False

    async def main() -> None:
        ending = Ending()
        loop = asyncio.get_running_loop()

        def hear() -> None:
            nonlocal orphaned
            try:
                said = channel.recv(16)
            except ConnectionError:
                said = b""
            obey(ending, said)
            if not said:
                orphaned = True
                loop.remove_reader(channel)

        channel.setblocking(False)
        loop.add_reader(channel, hear)
        # A service manager may send TERM to all processes; only the parent counts how often it came.
        loop.add_signal_handler(signal.SIGTERM, ending.ask)
        await run(settings, listeners, build, ending, lambda: _say(channel, READY))

    try:
        asyncio.run(main())
    except StartFailed as error:
        _say(channel, str(error).encode())
        return REFUSED if error.refused else 1
    except Exception as error:  # noqa: BLE001 (nobody above would log it)
        event(logger, logging.CRITICAL, "worker.failed", exception=error)
        return 1
    finally:
        if orphaned:
            # Nobody else is left to remove it.
            shutil.rmtree(metrics, ignore_errors=True)
    return 0


def obey(ending: Ending, said: bytes) -> None:
    """Do what the parent says, all of it: who was busy hears several words at once. Nothing: it is gone."""
    if RETIRE in said:
        ending.retire()
    if HURRY in said:
        ending.hurry()
    elif not said or said.strip(RETIRE):
        ending.ask()


def _say(channel: socket.socket, what: bytes) -> None:
    try:
        channel.sendall(what)
    except OSError:
        # The parent is gone, which the reader of the channel is about to see.
        return
