"""One serving process: an event loop, an application, its listeners, and the way to end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from registry.logs import event
from registry.server.application import Application, StartFailed
from registry.server.conditions import Conditions
from registry.server.connections import Connections, Exhaustion
from registry.server.descriptors import most_connections, raise_limit
from registry.server.endpoint import Endpoint
from registry.server.listeners import Listener
from registry.server.memory import keep_buffers
from registry.server.requests import Requests
from registry.server.settings import OPS, ServerSettings
from registry.server.tls import Certificate

logger = logging.getLogger(__name__)

# Connections to the operators' listener: it must not need the room that clients fill.
_OPERATORS = 64

# At the end of a drain no connection begins for so long before the last one is taken: on a slow line one is
# still beginning.
_LAST_CALL_SECONDS = 0.5

# A connection is idle, and closed, when nothing has come on it for so long, and for as long as the drain: its
# request may be on its way, and a proxy that kept it has time to give it up.
_IDLE_SECONDS = 0.1

# So long the loop, back from a file call, waits for the interpreter's lock before it asks a thread that
# computes to give it up: by default 5 ms, in which ten small requests could have been answered.
_LOCK_SECONDS = 0.0005

# What arrived of a body may take so long to be kept, and its client to read that it was cut off.
_KEEPING_SECONDS = 3.0


class Ending:
    """How far the end has been asked for: `gently` once, then `hurried`; neither is ever taken back.

    A process that is `alone` shares its listening sockets with no other.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone
        self.gently = asyncio.Event()
        self.hurried = asyncio.Event()
        self.told = asyncio.Event()
        self.replaced = False

    def ask(self) -> None:
        """End, with the drain and grace times that were set."""
        self.told.set()
        self.gently.set()

    def retire(self) -> None:
        """End while others go on with the same sockets: the server remains ready, and nobody waits for us."""
        self.replaced = True
        self.gently.set()

    def hurry(self) -> None:
        """End without those times; what is cancelled still cleans up."""
        self.ask()
        self.hurried.set()

    def insist(self) -> None:
        """One more signal from a person: ask, then hurry, then leave at once."""
        if self.hurried.is_set():
            os._exit(1)
        if self.gently.is_set():
            self.hurried.set()
        self.ask()


async def run(
    settings: ServerSettings,
    listeners: Sequence[Listener],
    build: Callable[[], Application],
    ending: Ending,
    on_ready: Callable[[], None],
) -> None:
    """Serve until the end is asked for, and end in order."""
    keep_buffers()
    sys.setswitchinterval(_LOCK_SECONDS)
    descriptors = raise_limit()
    exhaustion = Exhaustion(descriptors)
    connections = Connections(settings.registry.max_connections or most_connections(descriptors))
    tls = Certificate(settings.registry.tls) if settings.registry.tls else None
    application = await _start(build)
    requests = Requests()
    background: list[asyncio.Task[None]] = []
    try:
        endpoints = [
            Endpoint(
                listener,
                requests.around(application.asgi(listener.name)),
                conditions=Conditions(
                    settings.timeouts, Connections(_OPERATORS) if listener.name == OPS else connections
                ),
                exhaustion=exhaustion,
                tls=tls.context if tls and listener.name != OPS else None,
            )
            for listener in listeners
        ]
        background.append(asyncio.create_task(_tell_time(endpoints)))
        if tls:
            background.append(asyncio.create_task(tls.watch()))
        for endpoint in endpoints:
            endpoint.open()
        on_ready()
        event(
            logger,
            logging.INFO,
            "server.started",
            pid=os.getpid(),
            listening={one.name: one.url for one in listeners},
            descriptors=descriptors,
            max_connections=connections.most,
        )
        await ending.gently.wait()
        await _end(settings, application, endpoints, requests, ending)
    finally:
        for task in background:
            task.cancel()
        await application.stop()
    event(logger, logging.INFO, "server.ended")


async def _start(build: Callable[[], Application]) -> Application:
    try:
        application = build()
        await application.start()
    except StartFailed:
        raise
    except Exception as error:
        event(logger, logging.ERROR, "server.failed", exception=error)
        raise StartFailed(
            f"the server could not start: {str(error) or type(error).__name__} (the log has more)"
        ) from error
    return application


async def _end(
    settings: ServerSettings,
    application: Application,
    endpoints: Sequence[Endpoint],
    requests: Requests,
    ending: Ending,
) -> None:
    event(logger, logging.INFO, "server.draining", requests=len(requests))
    requests.hang_up()
    if ending.replaced:
        for endpoint in endpoints:
            endpoint.stop_listening(leave_queue=True)
    else:
        await application.drain()
    last_call = min(_LAST_CALL_SECONDS, settings.drain_seconds)
    await _wait_for(ending.hurried.wait(), within_seconds=settings.drain_seconds - last_call)
    if ending.alone:
        for endpoint in endpoints:
            endpoint.hold_off()
    await _wait_for(ending.hurried.wait(), within_seconds=last_call)
    for endpoint in endpoints:
        endpoint.stop_listening()
    # Whoever waits for our end knows of the drain and of the grace time, and of no third.
    now = asyncio.get_running_loop().time
    grace_ends = now() + settings.grace_seconds
    idle_seconds = max(settings.drain_seconds, _IDLE_SECONDS)
    await _wait_for(
        ending.hurried.wait(),
        _idle(endpoints, idle_seconds),
        within_seconds=min(idle_seconds, settings.grace_seconds),
    )
    for endpoint in endpoints:
        endpoint.close()
    if ending.replaced:
        # Nobody waits for us, but a client that reads slowly must not keep a whole process for ever.
        await _wait_for(
            ending.told.wait(), _all_sent(endpoints, requests), within_seconds=settings.retire_seconds
        )
        grace_ends = now() + settings.grace_seconds
    left = max(0.0, grace_ends - now())
    await _wait_for(ending.hurried.wait(), _all_sent(endpoints, requests), within_seconds=left)
    for endpoint in endpoints:
        endpoint.break_off()
    await _wait_for(_kept(endpoints), within_seconds=_KEEPING_SECONDS)
    await requests.cancel()


async def _wait_for(*first_of: Coroutine[Any, Any, object], within_seconds: float | None) -> None:
    tasks = [asyncio.create_task(one) for one in first_of]
    await asyncio.wait(tasks, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _all_sent(endpoints: Sequence[Endpoint], requests: Requests) -> None:
    await requests.finished()
    while any(endpoint.busy for endpoint in endpoints):  # noqa: ASYNC110 (no transport tells when it is empty)
        await asyncio.sleep(0.02)


async def _idle(endpoints: Sequence[Endpoint], seconds: float) -> None:
    while any(endpoint.expects(seconds) for endpoint in endpoints):  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0.02)


async def _kept(endpoints: Sequence[Endpoint]) -> None:
    while any(endpoint.breaking_off for endpoint in endpoints):  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0.02)


async def _tell_time(endpoints: Sequence[Endpoint]) -> None:
    while True:
        await asyncio.sleep(1)
        for endpoint in endpoints:
            endpoint.tell_time()
