"""`moorage version`, and `moorage --version` for those who try that first."""

from __future__ import annotations

import json
import platform
from typing import Annotated

import typer

from registry import __version__
from registry.cli.options import JsonOption
from registry.store.marks import WRITER_LEVEL


def add_version(app: typer.Typer) -> None:
    """Offer the command and the flag."""

    # A callback also makes even a lone command a sub-command.
    @app.callback()
    def moorage(
        version: Annotated[
            bool,
            typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_answer),
        ] = False,
    ) -> None:
        pass

    @app.command()
    def version(as_json: JsonOption = False) -> None:
        """Say which version this is, and which format of the store it writes."""
        if as_json:
            python = platform.python_version()
            print(json.dumps({"version": __version__, "python": python, "writer_level": WRITER_LEVEL}))
        else:
            print(_text())


def _answer(asked: bool) -> None:
    if asked:
        print(_text())
        raise typer.Exit


def _text() -> str:
    return f"moorage {__version__} (Python {platform.python_version()}, store format {WRITER_LEVEL})"
