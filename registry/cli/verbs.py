"""Operations as commands: `repo.list` becomes `moorage repo list`, its input the arguments and options."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from registry.cli.composition import Composition
from registry.cli.existence import require_directory, require_store
from registry.cli.exits import BY_STATUS, Refused, told
from registry.cli.options import ConfigOption, JsonOption, RootOption
from registry.cli.ownership import require_owner
from registry.cli.progress import reporting
from registry.cli.rendering import as_json as rendered_json
from registry.cli.rendering import as_text
from registry.config import Config, load
from registry.errors import RegistryError
from registry.model.names import RepositoryName
from registry.work.operations import Context, Operation, Operations, Progress, Result

_NOUNS = {
    "repo": "Repositories: what there is, and removing it.",
    "storage": "The store as a whole.",
    "tag": "Tags of a repository.",
}
_ADDRESS = re.compile(r"[^/]*:[0-9]*/")
_NATIVE = (str, int, float, bool, Path)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; without a terminal this is required.")]


def add_operations(app: typer.Typer, composition: Composition, words: Sequence[str]) -> None:
    """Offer every operation of the table."""
    nouns: dict[str, typer.Typer] = {}
    for operation in composition.operations(Config()):
        noun, _, verb = operation.name.partition(".")
        if noun not in nouns:
            nouns[noun] = typer.Typer(help=_NOUNS.get(noun), no_args_is_help=True)
            app.add_typer(nouns[noun], name=noun)
        nouns[noun].command(verb, help=operation.summary)(_command(operation, composition, words))


def _command(
    operation: Operation[Any], composition: Composition, words: Sequence[str]
) -> Callable[..., None]:
    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in shared}
        as_json = own["as_json"]
        with told(as_json=as_json):
            settings = load(own["config"], os.environ, {"--root": own["root"]})
            dry_run, yes = own.get("dry_run", False), own.get("yes", False)
            may_ask = operation.deletes and not dry_run and not yes
            if may_ask and not sys.stdin.isatty():
                raise Refused(
                    f"{operation.name.replace('.', ' ')} removes things and there is no terminal to ask at:"
                    " add --yes, or --dry-run to see what would go"
                )
            require_owner(settings.storage.root, os.geteuid(), words)
            lists = {name: tuple(one) for name, one in given.items() if isinstance(one, list)}
            asked = operation.input(**{**given, **lists})
            (require_store if operation.needs_store(asked) else require_directory)(settings.storage.root)
            result = asyncio.run(
                _perform(
                    composition.operations(settings),
                    operation.name,
                    asked,
                    Context("operator", dry_run),
                    as_json=as_json,
                    ask=may_ask,
                )
            )
        if operation.name.startswith("storage.") and not as_json:
            print(f"the store in {os.path.realpath(settings.storage.root)}:", file=sys.stderr)
        _show(result, as_json=as_json)
        raise typer.Exit(BY_STATUS[result.status])

    shared: dict[str, Any] = {"config": ConfigOption, "root": RootOption, "as_json": JsonOption}
    if operation.deletes:
        shared |= {"dry_run": DryRunOption, "yes": YesOption}
    defaults: dict[str, Any] = dict.fromkeys(("as_json", "dry_run", "yes"), False)
    parameters = [
        *_parameters(operation.input),
        *(_keyword(name, kind, defaults.get(name)) for name, kind in shared.items()),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


async def _perform(
    table: Operations, name: str, asked: object, context: Context, *, as_json: bool, ask: bool
) -> Result:
    async with table:
        operation = table[name]
        if ask:
            preview = await _result(operation, asked, Context(context.by, dry_run=True), as_json=as_json)
            print(as_text(preview.value), file=sys.stderr)
            if preview.text:
                print(preview.text, file=sys.stderr)
            if not typer.confirm("Remove it?", err=True):
                raise Refused("nothing was removed")
        return await _result(operation, asked, context, as_json=as_json)


async def _result(operation: Operation[Any], asked: object, context: Context, *, as_json: bool) -> Result:
    result = None
    with reporting(as_json=as_json) as report:
        # To its very end, so that what the operation cleans up still finds the storage open.
        async for step in operation.run(asked, context):
            if isinstance(step, Progress):
                report(step)
            else:
                result = step
    if result is None:
        raise AssertionError(f"{operation.name} ended without a result")
    return result


def _show(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(rendered_json(result.value))
        if result.text:
            print(rendered_json({"note": result.text}), file=sys.stderr)
        return
    text = as_text(result.value)
    if text:
        print(text)
    if result.text:
        print(result.text, file=sys.stderr)


def _parameters(kind: type[Any]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(kind)
    return [_parameter(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    native, parser = _native(hint)
    about: dict[str, Any] = {"help": field.metadata["help"], "parser": parser}
    if field.metadata["place"] == "argument":
        metavar = "|".join(get_args(native)) if _is_choice(native) else field.name.upper()
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        about["show_default"] = False
        return _keyword(field.name, Annotated[native, typer.Argument(metavar=metavar, **about)], default)
    flag = f"--{field.name.replace('_', '-')}"
    about["show_default"] = field.default not in (None, False, ())
    return _keyword(field.name, Annotated[native, typer.Option(flag, **about)], field.default)


def _native(hint: Any) -> tuple[Any, Callable[[str], Any] | None]:
    """The type as typer knows it, and what makes a value of ours from a text."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        native, parser = _native(next(one for one in inner if one is not type(None)))
        return native | None, parser
    if origin in (tuple, list):
        native, parser = _native(inner[0])
        return list[native], parser  # type: ignore[valid-type]
    if hint in _NATIVE or _is_choice(hint):
        return hint, None
    # To typer it is a text, so that help shows no class names.
    return str, _parser(hint)


def _parser(kind: Any) -> Callable[[str], Any]:
    make = getattr(kind, "parse", kind)

    def parse(text: Any) -> Any:
        if not isinstance(text, str):
            # A default, which is a value already.
            return text
        if kind is RepositoryName and (address := _ADDRESS.match(text)):
            raise typer.BadParameter(f"leave out the registry's address: {text[address.end() :]}")
        try:
            return make(text)
        except (RegistryError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error

    return parse


def _is_choice(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
