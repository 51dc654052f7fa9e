"""From settings to serving: in this process, or as the parent of several workers.

This module is what the parent of workers imports, so neither uvicorn nor the application is imported here.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from registry import logs
from registry.logs import event
from registry.server.application import Application
from registry.server.descriptors import raise_limit
from registry.server.listeners import Listener, inherit, listen
from registry.server.renewal import Estate, Renewal
from registry.server.settings import LogSettings, ServerSettings

logger = logging.getLogger(__name__)

Build = Callable[[], Application]
OnReady = Callable[[Mapping[str, str]], None]


def serve(
    settings: ServerSettings,
    log: LogSettings,
    build: Build,
    on_ready: OnReady,
    renewal: Renewal | None = None,
) -> int:
    """Listen, serve until told to end, and return the exit code: 0 when it ended as it was told.

    To be called on the main thread. TERM or INT ends in order, a second one cuts the waiting short, a third
    ends at once. HUP, with several workers and a `renewal`, starts this program anew without a pause.
    Raises `ListenFailed` and `StartFailed`.
    """
    raise_limit()
    estate = Estate.take()
    listeners, missing = inherit(settings, estate.listeners) if estate else (listen(settings), ())
    try:
        if settings.workers == 1 and estate is None:
            return _serve_alone(settings, log, listeners, build, on_ready)
        from registry.server.parent import Parent

        return Parent(settings, log, listeners, build, on_ready, renewal, estate, missing).run()
    finally:
        for listener in listeners:
            listener.close()


def _serve_alone(
    settings: ServerSettings,
    log: LogSettings,
    listeners: Sequence[Listener],
    build: Build,
    on_ready: OnReady,
) -> int:
    import asyncio

    from registry.server.process import Ending, run

    async def main() -> None:
        ending = Ending(alone=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ending.insist)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, ending.insist if os.isatty(0) else _refuse_renewal
        )
        ready = {one.name: one.url for one in listeners}
        await run(settings, listeners, build, ending, lambda: on_ready(ready))

    # A directory meant for another program's workers would make us count into files.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    with logs.writing(log.format, log.level):
        asyncio.run(main())
    return 0


def _refuse_renewal() -> None:
    event(
        logger,
        logging.WARNING,
        "renewal.refused",
        reason="one process cannot be renewed while it serves: restart it, or set workers to 2 or more",
    )
