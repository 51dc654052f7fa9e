"""What mirrors offer to whoever sets up clients: the files that those read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from registry.errors import Unsupported
from registry.mirror.client_files import Client, ClientFiles, Served, client_files
from registry.mirror.settings import MirrorSettings
from registry.settings import Address, parse_url
from registry.work.operations import Context, Operation, Progress, Result, argument, option

# Of a registry that listens everywhere and does not know what it is called.
_UNNAMED = "THIS-MACHINE"
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (as operators write it)


class URL(str):
    """An address that clients use."""

    __slots__ = ()

    def __new__(cls, text: str) -> URL:
        """Raises ValueError."""
        return super().__new__(cls, parse_url(text).rstrip("/"))


@dataclass(frozen=True, slots=True)
class AskFiles:
    """For which client, and where it reaches us."""

    client: Client = argument("the client")
    url: URL | None = option("the registry's address, if clients use another than `url`", default=None)
    mirror_url: URL | None = option(
        "for docker: the address of the namespace's own listener, if clients use another", default=None
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """What the settings say of where clients reach the registry."""

    url: str | None
    listen: str
    tls: bool
    mirrors: Sequence[MirrorSettings]

    def served(self, asked: AskFiles) -> Served:
        """The same with addresses; those given count. Raises Unsupported where an address is not known."""
        found = asked.url or self.url or self._url(self.listen, None, "registry.listen", "--url")
        served = Served(found.rstrip("/"), self.mirrors, asked.mirror_url)
        hub = served.hub
        if asked.client != "docker" or asked.mirror_url is not None or hub is None or hub.listen is None:
            return served
        host = urlsplit(served.url).hostname or ""
        name = _UNNAMED if host == _UNNAMED.lower() else host
        mirror_url = self._url(hub.listen, name, f"{hub.name}: listen", "--mirror-url")
        return Served(served.url, self.mirrors, mirror_url)

    def _url(self, listen: str, name: str | None, setting: str, option: str) -> str:
        """The address of a listener; its host is the registry's `name`, if others may reach it."""
        address = Address.parse(listen)
        if address.port == 0:
            raise Unsupported(
                f"which port it has is known to the server alone ({setting}: {listen}): say the address with"
                f" {option}"
            )
        host = address.host
        if name is not None and not address.loopback:
            host = name
        elif host in _EVERYWHERE:
            host = _UNNAMED
        return f"{'https' if self.tls else 'http'}://{Address(host, address.port)}"


def operations(reached: Reached) -> Iterable[Operation[Any]]:
    """Operations on the settings alone."""

    async def client_config(asked: AskFiles, _: Context) -> AsyncIterator[Progress | Result]:
        served = reached.served(asked)
        files = client_files(asked.client, served)
        if urlsplit(served.url).hostname == _UNNAMED.lower():
            files.notes.append(
                f"{_UNNAMED} stands for the name that clients reach the registry by: set `url`"
            )
        yield Result(files)

    return (
        Operation(
            "client.config",
            "Print the files that have clients pull other registries' images from here",
            "list",
            False,
            AskFiles,
            client_config,
            needs_store=lambda _: False,
            result=ClientFiles,
        ),
    )
