"""The table of operations as a server offers it: each is done there, and told here as it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, cast

from registry.cli.exits import ServerFailed
from registry.cli.servers import Server
from registry.work.documents import plain, read_plain
from registry.work.inputs import written_input
from registry.work.operations import Context, Operation, Operations, Progress, Result, Status


def remote(server: Server, offered: Iterable[Operation[Any]]) -> Operations:
    """The operations that can be done through a server."""
    return Operations(
        replace(operation, run=partial(_run, server, operation))
        for operation in offered
        if not operation.local
    )


async def _run(
    server: Server, operation: Operation[Any], asked: object, context: Context
) -> AsyncIterator[Progress | Result]:
    document = written_input(asked)
    if operation.rehearses:
        document["dry_run"] = context.dry_run
    answer = server.ask(
        "/".join(operation.words), document, changes=operation.changes and not context.dry_run
    )
    # Nothing else is done meanwhile, so waiting for the socket keeps nobody waiting.
    with closing(cast(Any, answer)):
        for told in answer:
            try:
                step = _step(operation, told)
            except (KeyError, ValueError):
                raise ServerFailed(
                    f"{server.url} answers in a form that this version does not know"
                ) from None
            yield step


def _step(operation: Operation[Any], document: Mapping[str, Any]) -> Progress | Result:
    if "progress" not in document:
        return _result(operation, document)
    progress: Progress = read_plain(Progress, document["progress"])
    return progress


def _result(operation: Operation[Any], document: Mapping[str, Any]) -> Result:
    written = document["result"]
    status, note = Status(document["status"]), str(document["note"])
    try:
        value = read_plain(operation.result, written)
    except ValueError:
        value = written
    # A server of another version may say more than we know; none of it is left out.
    return Result(value if plain(value) == written else written, status, note)
