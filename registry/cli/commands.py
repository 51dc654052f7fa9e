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

_OWN = frozenset({"serve", "config", "init", "version", "--version"})


def build(words: Sequence[str], composition: Composition) -> Callable[..., object]:
    """The command line; the table of operations is made only if `words` name none of its own commands.

    So the process that only starts workers imports nothing that it does not need.
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
    if not words or words[0] not in ("serve", "config", "version", "--version"):
        # Here, since it takes cryptography, which the parent of workers must not import.
        from registry.cli.beginning import add_init

        add_init(app, composition)
    if not words or words[0] not in _OWN:
        add_operations(app, composition, words)
        add_audit(app)
    return app
