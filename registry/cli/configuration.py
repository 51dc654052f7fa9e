"""`moorage config check` and `moorage config show`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import typer

from registry.cli.exits import told
from registry.cli.options import ConfigOption, JsonOption, RootOption
from registry.cli.rendering import table
from registry.config import Config, Resolved, resolve
from registry.config import check as found_good
from registry.model.quoting import printable

_WIDEST = 48  # characters of a value; a list of sections may have thousands


def add_config(app: typer.Typer) -> None:
    """Offer the commands."""
    noun = typer.Typer(help="Look at the configuration without serving.", no_args_is_help=True)
    app.add_typer(noun, name="config")

    @noun.command()
    def check(config: ConfigOption = None, root: RootOption = None, as_json: JsonOption = False) -> None:
        """Say everything that is wrong with settings, certificate and access rules, or that nothing is."""
        with told(as_json=as_json):
            sound = found_good(config, os.environ, {"--root": root})
        access = sound.resolved.config.access
        rules = 0 if access.rules_file is None else len(sound.policy.rules or ())
        changed = sum(source.kind != "default" for source in sound.resolved.sources.values())
        if as_json:
            print(json.dumps({"sound": True, "changed": changed, "rules": rules}))
        else:
            print(f"The configuration is sound; settings from file, environment or flags: {changed}.")
            if access.rules_file is not None:
                print(f"Access rules: {rules}.")
            elif access.token_server is not None:
                print("There are no access rules: the tokens of access.token_server decide.")
            else:
                print("There are no access rules: everything is allowed, on this machine only.")

    @noun.command()
    def show(config: ConfigOption = None, root: RootOption = None, as_json: JsonOption = False) -> None:
        """Show every setting with its value and where that comes from; secrets stay hidden."""
        with told(as_json=as_json):
            resolved = resolve(config, os.environ, {"--root": root})
        rows = described(resolved)
        if as_json:
            print(json.dumps({name: {"value": value, "source": source} for name, value, source in rows}))
            return
        cells = [(name, printable(json.dumps(value)), source) for name, value, source in rows]
        print("\n".join(table(("SETTING", "VALUE", "SOURCE"), cells, widest=_WIDEST)))


def described(resolved: Resolved[Config]) -> list[tuple[str, object, str]]:
    """Name, value as it would be written, and source of every setting; an absent section is one null."""
    dump = resolved.config.model_dump(mode="json")
    rows: dict[str, tuple[str, object, str]] = {}
    for name, source in resolved.sources.items():
        found: object = dump
        path = []
        for step in name.split("."):
            if not isinstance(found, Mapping):
                break
            path.append(step)
            found = found[step]
        rows.setdefault(".".join(path), (".".join(path), found, str(source)))
    return list(rows.values())
