"""Operations as commands: `repo.list` becomes `moorage repo list`, its input the arguments and options."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer

from registry.cli.composition import Composition
from registry.cli.exits import BY_STATUS, Refused, told
from registry.cli.options import ConfigOption, JsonOption, PlainHTTPOption, RootOption, ServerOption
from registry.cli.parameters import signature_of
from registry.cli.passwords import ask_for
from registry.cli.places import place
from registry.cli.progress import reporting
from registry.cli.rendering import as_json as rendered_json
from registry.cli.rendering import as_text
from registry.config import Config
from registry.logs import writing
from registry.work.inputs import fields
from registry.work.operations import Context, Operation, Operations, Progress, Result

_NOUNS = {
    "access": "Rules, and the keys and tokens that say who somebody is.",
    "apikey": "API keys: credentials of machines.",
    "bundle": "Images carried across an air gap as signed files.",
    "bundle key": "Keys that bundles are signed with.",
    "client": "Clients: what they have to be told.",
    "gc": "Collection of what nothing needs any more.",
    "mirror": "Namespaces whose content comes from other registries.",
    "pulls": "How often, and when last, tags were pulled.",
    "repo": "Repositories: what there is, removing and restoring it.",
    "retention": "Old tags that go by rules.",
    "scrub": "Reading all content again, to find what has been damaged.",
    "storage": "The store as a whole.",
    "tag": "Tags of a repository.",
    "trash": "What was deleted or collected, and can be restored.",
    "usage": "What repositories and prefixes hold, each byte counted once.",
    "user": "Accounts: people whom the registry knows itself.",
}

_STDERR = 2  # what it is, whoever has put what in the place of sys.stderr

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be done.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; without a terminal this is required.")]


def add_operations(app: typer.Typer, composition: Composition, words: Sequence[str]) -> Collection[str]:
    """Offer every operation of the table, or of the noun that `words` begin with. Their nouns."""
    nouns: dict[str, typer.Typer] = {}
    for operation in composition.operations(Config(), words[0] if words else None):
        *above, verb = operation.words
        group = app
        for at, noun in enumerate(above, 1):
            name = " ".join(above[:at])
            if name not in nouns:
                nouns[name] = typer.Typer(help=_NOUNS.get(name), no_args_is_help=True)
                group.add_typer(nouns[name], name=noun)
            group = nouns[name]
        group.command(verb, help=operation.summary)(_command(operation, composition, words))
    return nouns.keys()


def _command(
    operation: Operation[Any], composition: Composition, words: Sequence[str]
) -> Callable[..., None]:
    known = fields(operation.input)
    shared: dict[str, tuple[Any, object]] = {"config": (ConfigOption, None), "root": (RootOption, None)}
    if not operation.local:
        shared |= {"server": (ServerOption, None), "plain_http": (PlainHTTPOption, False)}
    shared["as_json"] = (JsonOption, False)
    if operation.rehearses:
        shared["dry_run"] = (DryRunOption, False)
    if operation.deletes:
        shared["yes"] = (YesOption, False)

    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in shared}
        as_json, dry_run = own["as_json"], own.get("dry_run", False)
        with told(as_json=as_json):
            may_ask = operation.deletes and not dry_run and not own["yes"]
            if may_ask and not sys.stdin.isatty():
                raise Refused(
                    f"{' '.join(operation.words)} asks before it does anything, and there is no terminal"
                    " to ask at: add --yes, or --dry-run to see what it would do"
                )
            where = place(composition, words, own)
            lists = {name: tuple(one) for name, one in given.items() if isinstance(one, list)}
            secrets = {one.name: ask_for(one, from_stdin=given[one.name]) for one in known if one.secret}
            asked = operation.input(**{**given, **lists, **secrets})
            performing = _perform(
                where.table(operation, asked),
                operation.name,
                asked,
                Context("operator", dry_run),
                as_json=as_json,
                ask=may_ask,
            )
            form = "json" if as_json else "text"
            with writing(form, "warning", least=logging.WARNING, threaded=False, descriptor=_STDERR):
                result = asyncio.run(performing)
        if operation.name.startswith("storage.") and not operation.own_places and not as_json:
            print(f"the store {where.text}:", file=sys.stderr)
        _show(result, as_json=as_json)
        raise typer.Exit(BY_STATUS[result.status])

    signature = signature_of(known, shared)
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
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
            if not typer.confirm("Do it?", err=True):
                raise Refused("nothing was done")
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
