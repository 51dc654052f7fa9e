"""`moorage init`: a registry for a team, with a key, rules and somebody who may change them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from registry.access.seal import new_key
from registry.cli.composition import Composition
from registry.cli.exits import Refused, told
from registry.cli.options import JsonOption
from registry.config import Config, load
from registry.work.operations import Context, Result

_ADMIN = "admin"
_PASSWORD_BYTES = 18
_RULES = """\
# Who may do what; what no rule grants is refused. Changes are taken up while serving.
# `moorage access explain user:alice push team/app` says which rule decides.

# Whoever may do everything, the commands of `moorage --server` too.
- {who: 'group:admins', repositories: ['**'], may: [pull, push, delete, list, approve, admin]}

# Whoever is logged in sees and pulls everything, and has a place of their own.
- {who: authenticated, repositories: ['**'], may: [pull, list]}
- {who: authenticated, repositories: ['users/{user}/**'], may: [push, delete]}
"""


def add_init(app: typer.Typer, composition: Composition) -> None:
    """Offer the command."""

    @app.command()
    def init(
        directory: Annotated[
            Path, typer.Argument(metavar="DIR", help="Where to put the configuration; made if need be.")
        ],
        url: Annotated[
            str,
            typer.Option(
                metavar="URL", help="The address that clients use, like https://registry.example.com."
            ),
        ],
        listen: Annotated[
            str | None,
            typer.Option(
                metavar="ADDRESS",
                help="Where the server listens (registry.listen); 127.0.0.1:5000, or what the URL says if"
                " that is http:// on this machine.",
                show_default=False,
            ),
        ] = None,
        root: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Where the data lie; DIR/data otherwise.", show_default=False),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Begin a registry: write its configuration, seal key and access rules, and make `admin`.

        The password of admin is shown once. Run it as the user that is to run the server.
        """
        with told(as_json=as_json):
            place = directory.absolute()
            data = (root or place / "data").absolute()
            if (place / "config.yaml").exists():
                raise Refused(f"there is a registry in {place} already: {place / 'config.yaml'}")
            config = _write(place, data, url, listen or _listen(url))
            password = secrets.token_urlsafe(_PASSWORD_BYTES)
            try:
                asyncio.run(_make_admin(composition, config, password))
            except BaseException:
                # So that it can be tried again.
                for name in ("config.yaml", "access.yaml", "seal.key"):
                    (place / name).unlink(missing_ok=True)
                raise
        made = {"config": str(place / "config.yaml"), "user": _ADMIN, "password": password}
        if as_json:
            print(json.dumps(made))
        else:
            _show(made, place, urlsplit(url).netloc)
        if urlsplit(url).scheme == "http" and not _is_local(url):
            print(
                "moorage: warning: with an http:// address passwords cross the network as they are; use"
                " registry.tls or a proxy with TLS, and https://",
                file=sys.stderr,
            )


def _write(place: Path, data: Path, url: str, listen: str) -> Config:
    """Write the files, and read them as the server would. Raises ConfigError, Refused."""
    settings = {
        "url": url,
        "registry": {"listen": listen},
        "storage": {"root": str(data)},
        "access": {"rules_file": "access.yaml", "seal_key_file": "seal.key"},
    }
    lines = ["# Written by `moorage init`. Everything that can be set stands in config.example.yaml."]
    lines += [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
    written: list[Path] = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text, mode in (
            ("seal.key", new_key(), 0o600),
            ("access.yaml", _RULES, 0o644),
            ("config.yaml", "\n".join(lines) + "\n", 0o644),
        ):
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            written.append(place / name)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        return load(place / "config.yaml", {}, {})
    except OSError as error:
        _remove(written)
        raise Refused(f"{error.filename or place} cannot be written: {error.strerror}") from error
    except BaseException:
        _remove(written)
        raise


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


async def _make_admin(composition: Composition, config: Config, password: str) -> None:
    async with composition.operations(config, "user") as table:
        operation = table["user.add"]
        asked = operation.input(name=_ADMIN, group=("admins",), password=password)
        async for step in operation.run(asked, Context("operator")):
            assert isinstance(step, Result)


def _show(made: Mapping[str, str], place: Path, host: str) -> None:
    config = shlex.quote(made["config"])
    print(f"user:     {made['user']}")
    print(f"password: {made['password']}")
    print(
        f"\nThis is shown once. Configuration, rules and seal key lie in {place}; keep a copy of seal.key\n"
        "apart from the data: without it nobody can log in any more.\n\n"
        f"  moorage serve --config {config}\n"
        f"  docker login {host} --username {made['user']}\n"
        f"  moorage user add alice --config {config}",
        file=sys.stderr,
    )


def _listen(url: str) -> str:
    """Where to listen, so that clients find the server at the URL if nothing stands before it."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # that is told of the URL
        port = None
    if parts.scheme != "http" or port is None or not _is_local(url):
        return "127.0.0.1:5000"
    return f"[::1]:{port}" if parts.hostname == "::1" else f"127.0.0.1:{port}"


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
