"""`moorage version`."""

from __future__ import annotations

import json
import platform

import typer

from registry import __version__
from registry.cli.options import JsonOption
from registry.store.marks import WRITER_LEVEL


def add_version(app: typer.Typer) -> None:
    """Offer the command."""

    @app.command()
    def version(as_json: JsonOption = False) -> None:
        """Say which version this is, and which format of the store it writes."""
        python = platform.python_version()
        if as_json:
            print(json.dumps({"version": __version__, "python": python, "writer_level": WRITER_LEVEL}))
        else:
            print(f"moorage {__version__} (Python {python}, store format {WRITER_LEVEL})")
