"""What an operator may set about the server and its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from registry.settings import Listen, Settings

REGISTRY, OPS = "registry", "ops"
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TLSSettings(Settings):
    """A certificate chain and its key, PEM; both files are watched, and reloaded when they change."""

    certificate: Path
    key: Path
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    check_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """A listener that is wanted: its name, where it listens, and which setting says so."""

    name: str
    listen: str
    setting: str
    # How to choose another address, where that can be done elsewhere than in the file.
    change: str | None = None

    @property
    def is_ops(self) -> bool:
        """Whether operators come there, in plain HTTP, and not clients."""
        return self.name == OPS


class RegistryListenerSettings(Settings):
    """Where clients come: `host:port`, `[ipv6]:port`, or `:port` for every address; port 0 is any free."""

    listen: Listen = "127.0.0.1:5000"
    # Of each worker; None: as many as the limit of open files lets it have.
    max_connections: Annotated[int, Field(ge=1)] | None = None
    tls: TLSSettings | None = None


class OpsListenerSettings(Settings):
    """Where operators read metrics and health, in plain HTTP: loopback unless written otherwise.

    The default is the port on which Distribution has its own such listener.
    """

    listen: Listen = "127.0.0.1:5001"


class TimeoutSettings(Settings):
    """How long the server waits for a client."""

    # A whole head, from the connection or its first byte on; TLS its handshake.
    head_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    # Go clients keep idle connections up to 90 s, and do not repeat a POST on one that was closed meanwhile.
    idle_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    # The next byte of a body.
    body_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    # Room for the next of an answer: clients that unpack while they read stall honestly.
    send_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0


class ServerSettings(Settings):
    """Listeners, processes and the way to end."""

    registry: RegistryListenerSettings = RegistryListenerSettings()
    ops: OpsListenerSettings = OpsListenerSettings()
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    # After TERM: so long new connections are still taken (a proxy needs time to notice) …
    drain_seconds: Seconds = 0.0
    # … and then so long requests in flight may go on.
    grace_seconds: Seconds = 25.0
    # A worker that was relieved after HUP may go on for so long with what it has begun; then `grace_seconds`.
    retire_seconds: Seconds = 3600.0
    timeouts: TimeoutSettings = TimeoutSettings()

    @property
    def further_listeners(self) -> tuple[ListenerSettings, ...]:
        """What a tree of settings has besides these two, to be served as the registry's listener is."""
        return ()

    @property
    def client_listeners(self) -> tuple[ListenerSettings, ...]:
        """Where clients connect: with one certificate, and bounded together."""
        registry = ListenerSettings(REGISTRY, self.registry.listen, "registry.listen", "--listen")
        return registry, *self.further_listeners

    @property
    def listeners(self) -> tuple[ListenerSettings, ...]:
        """Everything that is listened at."""
        change = "ops.listen in the configuration, or MOORAGE_OPS_LISTEN=127.0.0.1:0"
        return *self.client_listeners, ListenerSettings(OPS, self.ops.listen, "ops.listen", change)


class LogSettings(Settings):
    """How the log is written to standard output; `auto` means text on a terminal, JSON lines elsewhere."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
