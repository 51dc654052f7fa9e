"""The tree of commands: a few of the command line's own, the others from the table of operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from registry.cli.composition import Composition
from registry.cli.configuration import add_config
from registry.cli.serving import add_serve
from registry.cli.verbs import add_operations
from registry.cli.verification import add_audit
from registry.cli.versions import add_version

_OWN = frozenset({"serve", "config", "version", "--version"})


def build(words: Sequence[str], composition: Composition) -> Callable[..., object]:
    """The command line; of the table of operations only what `words` begin with, if they do.

    So the process that only starts workers imports nothing that it does not need, and no command waits for
    what belongs to others.
    """
    app = typer.Typer(
        help="Moorage, an OCI registry whose storage is the whole registry.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    )
    add_serve(app, composition, words)
    add_config(app)
    add_version(app)
    first = words[0] if words else ""
    if first in _OWN:
        return app
    nouns = set() if first == "init" else add_operations(app, composition, words)
    if first not in nouns:
        # Here, since it takes cryptography, which the parent of workers must not import.
        from registry.cli.beginning import add_init

        add_init(app, composition)
    if first == "audit" or first not in nouns:
        add_audit(app)
    return app
