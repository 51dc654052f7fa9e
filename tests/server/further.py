"""Settings that have further listeners, as the tree of the real settings may have."""

from __future__ import annotations

from registry.server import ServerSettings
from registry.server.settings import ListenerSettings
from registry.settings import Listen


class FurtherSettings(ServerSettings):
    """Listeners by name."""

    further: dict[str, Listen] = {}

    @property
    def further_listeners(self) -> tuple[ListenerSettings, ...]:
        return tuple(ListenerSettings(name, at, f"further.{name}") for name, at in self.further.items())
