"""What the command line needs of the composition root, imported when it is needed: `version` needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

from registry.config import Config
from registry.server.memory import keep_buffers
from registry.server.renewal import Renewal
from registry.work.operations import Operations

OnReady = Callable[[Mapping[str, str]], None]


class Composition(Protocol):
    """The composition root as the command line sees it."""

    def serve(self, config: Config, on_ready: OnReady, renewal: Renewal | None = None) -> int:
        """Serve until told to end; `on_ready` gets the URL by listener. The exit code."""
        ...

    def operations(self, config: Config, noun: str | None = None) -> Operations:
        """The table of operations on the configured storage; opens nothing until it is entered.

        Of one noun alone if there is such a one: then only that is imported.
        """
        ...


class Imported:
    """The real one."""

    def serve(self, config: Config, on_ready: OnReady, renewal: Renewal | None = None) -> int:
        """Serve until told to end."""
        from registry.server import Deferred, serve

        # By name: a parent of workers must not import what only they need.
        return serve(config, config.log, Deferred("registry.app.serving:build", config), on_ready, renewal)

    def operations(self, config: Config, noun: str | None = None) -> Operations:
        """The table of operations."""
        # Bytes pass through a command as through a server: a bundle's, a copy's.
        keep_buffers()
        return cast(Operations, import_module("registry.app.offering").operations(config, noun))
