"""Where an operation is done: on the store that the configuration names, or through a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import typer

from registry.cli.composition import Composition
from registry.cli.credentials import NAME_VARIABLE, find
from registry.cli.existence import require_directory, require_store
from registry.cli.exits import Refused
from registry.cli.ownership import require_owner
from registry.cli.remote import remote
from registry.cli.servers import Server, ServerURL
from registry.config import Config, load
from registry.work.inputs import fields
from registry.work.operations import Operation, Operations


class Place(Protocol):
    """Where; `text` is what people read of it."""

    text: str

    def table(self, operation: Operation[Any], asked: object) -> Operations:
        """The table to do what is asked by. Raises what the command line tells."""
        ...


class Here:
    """The store on this machine."""

    def __init__(
        self, composition: Composition, words: Sequence[str], config: Path | None, root: str | None
    ) -> None:
        self._composition = composition
        self._settings = load(config, os.environ, {"--root": root})
        storage = self._settings.storage
        self._root = storage.root if storage.driver == "local" else None
        self.text = f"in {storage.text}"
        if self._root is not None:
            require_owner(self._root, os.geteuid(), words)

    def table(self, operation: Operation[Any], asked: object) -> Operations:
        """The table on the store, if there is one."""
        table = self._composition.operations(self._settings, operation.words[0])
        if operation.own_places:
            return Operations(table)
        if self._root is not None:
            (require_store if operation.needs_store(asked) else require_directory)(self._root)
        return table


class Elsewhere:
    """The store of a server."""

    def __init__(
        self, composition: Composition, url: str, environ: Mapping[str, str], *, plain_http: bool
    ) -> None:
        try:
            place = ServerURL.parse(url)
        except ValueError as error:
            raise typer.BadParameter(f"--server: {error}") from error
        self._composition = composition
        self.text = f"of {place}"
        credentials = find(place.host, place.port, environ)
        if credentials.header is not None and not place.is_private and not plain_http:
            raise Refused(
                f"{place} is plain HTTP, and everybody on the way could read the password of"
                f" {credentials.name}: use https://, leave {NAME_VARIABLE} out, or add --plain-http"
            )
        self._server = Server(place, credentials)

    def table(self, operation: Operation[Any], asked: object) -> Operations:
        """The table of what the server can be asked for."""
        for field in fields(operation.input):
            if field.local and getattr(asked, field.name) != field.default:
                raise Refused(f"{field.flag} works on the machine of the store alone, not through a server")
        return remote(self._server, self._composition.operations(Config(), operation.words[0]))


def place(composition: Composition, words: Sequence[str], own: Mapping[str, Any]) -> Place:
    """The place that the options of a command name."""
    config, root, url = own["config"], own["root"], own.get("server")
    plain_http = own.get("plain_http", False)
    if url is None:
        if plain_http:
            raise typer.BadParameter("--plain-http belongs to --server")
        return Here(composition, words, config, root)
    if config is not None or root is not None:
        raise typer.BadParameter(
            "--server is the place of the store, and so are --config and --root: name one"
        )
    return Elsewhere(composition, url, os.environ, plain_http=plain_http)
