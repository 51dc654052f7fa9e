"""The command line: `moorage NOUN VERB`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from registry.cli.commands import build
from registry.cli.composition import Imported

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that the words (by default those of the process) name, and exit with its code."""
    given = list(sys.argv[1:] if words is None else words)
    build(given, Imported())(args=given, prog_name="moorage")
