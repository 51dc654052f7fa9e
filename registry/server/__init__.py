"""The HTTP server: listeners, worker processes, shutdown, TLS; all of uvicorn, nothing of OCI.

What the composition root writes against:

    class Application(Protocol):
        async def start(self) -> None               # on the serving loop, before the first connection
        def asgi(self, listener: str) -> ASGIApp    # "registry", "ops", …; once each, after start
        async def drain(self) -> None               # the end was asked for: /readyz fails from now on
        async def stop(self) -> None                # every request has ended and cleaned up: close drivers

    serve(
        settings: ServerSettings,
        log: LogSettings,
        build: Callable[[], Application],
        on_ready: Callable[[Mapping[str, str]], None],
        renewal: Renewal | None = None,
    ) -> int

`build` is called once in each serving process. With several workers the parent must not import what it does
not need: give `Deferred("registry.app.serving:build", config)`, which imports that when called, and there
calls `build(config)`. `on_ready` gets the URL by listener, `{"registry": "http://127.0.0.1:5000", "ops": …}`,
once, in the process that called `serve`, when the first connection can be answered. `serve` belongs on the
main thread: it sets up the log, takes TERM and INT, blocks until one of them came, and returns the exit code.
On HUP a parent of workers starts the commands of `renewal`, and what `serve` is called by then goes on with
its sockets. Having those, it must not end because the configuration has changed since it was checked:
`settings_left()` is then what to go on with.
`ListenFailed` and `StartFailed` are its expected errors, worded for the person at the terminal.
"""

from __future__ import annotations

from registry.server.application import Application, ASGIApp, Deferred, StartFailed
from registry.server.listeners import ListenFailed
from registry.server.renewal import Renewal, settings_left
from registry.server.settings import LogSettings, ServerSettings
from registry.server.workers import serve

__all__ = [
    "ASGIApp",
    "Application",
    "Deferred",
    "ListenFailed",
    "LogSettings",
    "Renewal",
    "ServerSettings",
    "StartFailed",
    "serve",
    "settings_left",
]
