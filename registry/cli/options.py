"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file; without it the one that MOORAGE_CONFIG names, or only defaults.",
        show_default=False,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="DIR", help="The directory of the store (storage.root).", show_default=False
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Do it through this server instead of in the directory of the store, under its access rules: as"
        " MOORAGE_USERNAME with MOORAGE_PASSWORD, or with the password in docker's config.json.",
        show_default=False,
    ),
]
PlainHTTPOption = Annotated[
    bool,
    typer.Option("--plain-http", help="Send the password to an http:// server beyond this machine."),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Write JSON: the result to standard output, all else to standard error."),
]
