"""Exit codes, and how what went wrong is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import IntEnum

import typer

from registry.access.exposure import Exposed
from registry.cli.existence import NoStore
from registry.config import ConfigError
from registry.errors import (
    Denied,
    DigestInvalid,
    NameInvalid,
    ReadOnly,
    RegistryError,
    StorageDamaged,
    TagInvalid,
    Unsupported,
)
from registry.logs import redacted
from registry.server.application import StartFailed
from registry.server.listeners import ListenFailed
from registry.settings import Problem
from registry.store.marks import FormatTooNew
from registry.work.operations import Status
from storage.errors import StorageError


class Exit(IntEnum):
    """What a script can tell by the exit code; nothing to do is DONE too."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    DAMAGED = 4


class Refused(Exception):
    """The command line itself refuses; the text says what to do instead."""


BY_STATUS = {
    Status.DONE: Exit.DONE,
    Status.FAILED: Exit.FAILED,
    Status.REFUSED: Exit.REFUSED,
    Status.DAMAGED: Exit.DAMAGED,
}
_BY_ERROR: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (NameInvalid, Exit.USAGE),
    (TagInvalid, Exit.USAGE),
    (DigestInvalid, Exit.USAGE),
    (Refused, Exit.REFUSED),
    (Exposed, Exit.REFUSED),
    (FormatTooNew, Exit.REFUSED),
    (Denied, Exit.REFUSED),
    (Unsupported, Exit.REFUSED),
    (ReadOnly, Exit.REFUSED),
    (StorageDamaged, Exit.DAMAGED),
    (NoStore, Exit.FAILED),
    (RegistryError, Exit.FAILED),
    (StorageError, Exit.FAILED),
    (ListenFailed, Exit.FAILED),
    (StartFailed, Exit.FAILED),
)
EXPECTED = tuple(kind for kind, _ in _BY_ERROR)


@contextmanager
def told(*, as_json: bool = False) -> Iterator[None]:
    """Turn an expected error into a message on standard error and the exit code."""
    try:
        yield
    except EXPECTED as error:
        code = next(code for kind, code in _BY_ERROR if isinstance(error, kind))
        if as_json:
            document: dict[str, object] = {"error": redacted(str(error)), "exit": int(code)}
            if isinstance(error, ConfigError):
                document["problems"] = problem_documents(error.problems)
            print(json.dumps(document, ensure_ascii=False), file=sys.stderr)
        else:
            print(f"moorage: {redacted(str(error))}", file=sys.stderr)
        raise typer.Exit(code) from None


def problem_documents(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    """Problems as JSON has them."""
    return [{**asdict(problem), "source": str(problem.source)} for problem in problems]
