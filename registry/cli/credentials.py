"""Name and password for a server: from the environment, or as a client keeps them in docker's config.json."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.cli.exits import Refused

NAME_VARIABLE = "MOORAGE_USERNAME"
PASSWORD_VARIABLE = "MOORAGE_PASSWORD"  # noqa: S105 (a variable's name)
_MOST_BYTES = 1 << 20
# Not `docker login`: with a server that has tokens docker keeps an identity token, which is no use to us.
_INSTEAD = f"set {NAME_VARIABLE} and {PASSWORD_VARIABLE}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is sent to a server as Basic; nothing for nobody in particular, and `advice` says why then."""

    name: str = ""
    password: str = field(default="", repr=False)
    advice: str = ""

    @property
    def header(self) -> str | None:
        """The value of `Authorization`."""
        if not self.name:
            return None
        return "Basic " + base64.b64encode(f"{self.name}:{self.password}".encode()).decode("ascii")


def find(host: str, port: int | None, environ: Mapping[str, str]) -> Credentials:
    """The credentials for a server; `port` None is the usual one. Raises Refused for half of them."""
    name, password = environ.get(NAME_VARIABLE, ""), environ.get(PASSWORD_VARIABLE, "")
    if name or password:
        if not (name and password):
            missing = PASSWORD_VARIABLE if name else NAME_VARIABLE
            raise Refused(f"{missing} is not set: both go together, or neither")
        if ":" in name:
            raise Refused(f"{NAME_VARIABLE} has a colon in it, which no name may have")
        return Credentials(name, password)
    return _of_docker(host, port, environ)


def _of_docker(host: str, port: int | None, environ: Mapping[str, str]) -> Credentials:
    folder = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or "/", ".docker")
    path = os.path.join(folder, "config.json")
    try:
        document = _read(path)
    except FileNotFoundError:
        return Credentials(advice=_INSTEAD)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what docker writes"
        return Credentials(advice=f"{path} cannot be read ({reason}): {_INSTEAD}")
    keys = list(_keys(host, port))
    auths, helpers = _section(document, "auths"), _section(document, "credHelpers")
    for key in keys:
        entry = _section(auths, key)
        if entry.get("identitytoken"):
            return Credentials(
                advice=f"{path} has an identity token for {key}, which is docker's alone to use: {_INSTEAD}"
            )
        if found := _decoded(entry.get("auth")):
            return Credentials(*found)
    helper = next((helpers[key] for key in keys if key in helpers), document.get("credsStore"))
    if helper:
        return Credentials(
            advice=f"docker keeps passwords in its credential helper ({str(helper)[:40]}), which only docker"
            f" asks: {_INSTEAD}"
        )
    return Credentials(advice=_INSTEAD)


def _read(path: str) -> dict[str, Any]:
    with Path(path).open("rb") as file:
        document = json.loads(file.read(_MOST_BYTES))
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    return document


def _keys(host: str, port: int | None) -> Iterator[str]:
    """How docker, and what is like it, may have written the server's name."""
    shown = f"[{host}]" if ":" in host else host
    names = [shown] if port is None else [f"{shown}:{port}"]
    for name in names:
        yield from (name, f"https://{name}", f"http://{name}", f"https://{name}/v2/", f"https://{name}/v1/")


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _decoded(text: object) -> tuple[str, str] | None:
    try:
        name, _, password = base64.b64decode(str(text), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password.rstrip("\0")) if name and password else None
