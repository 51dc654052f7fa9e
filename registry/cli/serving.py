"""`moorage serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from registry.access.exposure import Exposed
from registry.access.policy import Policy
from registry.cli.announcement import announcement
from registry.cli.composition import Composition
from registry.cli.exits import Refused, told
from registry.cli.options import ConfigOption, RootOption
from registry.cli.ownership import require_owner
from registry.config import Config, ConfigError, check, restored, written
from registry.server.renewal import Renewal, settings_left


def add_serve(app: typer.Typer, composition: Composition, words: Sequence[str]) -> None:
    """Offer the command."""

    @app.command()
    def serve(
        config: ConfigOption = None,
        listen: Annotated[
            str | None,
            typer.Option(
                metavar="ADDRESS",
                help="Where clients connect: 127.0.0.1:5000, [::1]:5000, or :5000 for every address,"
                " which needs access rules (registry.listen).",
                show_default=False,
            ),
        ] = None,
        root: RootOption = None,
        workers: Annotated[
            str | None,
            typer.Option(
                metavar="NUMBER",
                help="Processes that answer; one per two cores is a good start (workers).",
                show_default=False,
            ),
        ] = None,
    ) -> None:
        """Serve the registry until SIGTERM or Ctrl-C.

        Pushes in flight may finish before it ends, and what is cut off resumes after the next start. With
        several workers SIGHUP starts it anew, as it is installed and configured by then, without a pause.
        """
        with told():
            flags = {"--listen": listen, "--root": root, "--workers": workers}
            # Each worker reads rules and certificate itself; what is wrong with them is told once, and here.
            policy: Policy | None = None
            refused: str | None = None
            try:
                sound = check(config, os.environ, flags)
                settings, policy = sound.resolved.config, sound.policy
            except (ConfigError, Exposed) as error:
                # Changed since it was checked; to end now would end the workers that were left to us.
                if (left := _left()) is None:
                    raise
                settings, refused = left, str(error)
            _warn_root(settings, words)

            def on_ready(urls: Mapping[str, str]) -> None:
                if policy is not None:
                    # Standard output is the log's.
                    print(announcement(settings, policy, urls), file=sys.stderr, flush=True)

            renewal = _renewal(words, {"--config": config, "--root": root})
            if renewal is not None:
                renewal = replace(renewal, settings=written(settings), refused=refused)
            code = composition.serve(settings, on_ready, renewal)
        raise typer.Exit(code)


def _left() -> Config | None:
    """The settings of the program that this one has replaced, as far as they are still settings."""
    text = settings_left()
    return None if text is None else restored(text)


def _renewal(words: Sequence[str], checked: Mapping[str, object]) -> Renewal | None:
    """How this very command is started again, and how the configuration that it would find is checked."""
    program = sys.orig_argv[: len(sys.orig_argv) - len(words)]
    if not sys.executable or [*program, *words] != sys.orig_argv:
        # Another program has called us.
        return None
    start = [sys.executable, *program[1:]]
    named = [f"{option}={value}" for option, value in checked.items() if value is not None]
    return Renewal(check=(*start, "config", "check", *named), serve=(*start, *words))


def _warn_root(config: Config, words: Sequence[str]) -> None:
    """Tell root, who can write anywhere, that these files are another's; whoever else cannot says so."""
    if os.geteuid() != 0 or config.storage.driver != "local":
        return
    try:
        require_owner(config.storage.root, 0, words)
    except Refused as warning:
        print(f"moorage: warning: {warning}\n", file=sys.stderr, flush=True)
