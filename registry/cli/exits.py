"""Exit codes, and how what went wrong is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import IntEnum

import typer

from registry.access.audit.verification import NoTrail
from registry.access.errors import Unfit
from registry.access.exposure import Exposed
from registry.cli.existence import NoStore
from registry.config import ConfigError
from registry.errors import (
    Damaged,
    Denied,
    DigestInvalid,
    InputInvalid,
    NameInvalid,
    ReadOnly,
    RegistryError,
    TagInvalid,
    Unauthorized,
    Unsupported,
)
from registry.logs import redacted
from registry.model.quoting import printable
from registry.server.application import StartFailed
from registry.server.listeners import ListenFailed
from registry.settings import Problem
from registry.work.operations import Status
from storage.errors import OutOfSpace, StorageError


class Exit(IntEnum):
    """What a script can tell by the exit code; what was named and is not there is FAILED."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    DAMAGED = 4


class Refused(Exception):
    """The command line itself refuses; the text says what to do instead."""


class ServerFailed(Exception):
    """A server cannot be asked, or answers as no Moorage does; the text says what to do."""


class Answered(Exception):
    """What a server answers in the place of a result; `code` is what that means for scripts."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


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
    (InputInvalid, Exit.USAGE),
    (Refused, Exit.REFUSED),
    (Exposed, Exit.REFUSED),
    (Denied, Exit.REFUSED),
    (Unauthorized, Exit.REFUSED),
    (Unsupported, Exit.REFUSED),
    (ReadOnly, Exit.REFUSED),
    (Damaged, Exit.DAMAGED),
    (NoStore, Exit.FAILED),
    (Unfit, Exit.FAILED),
    (NoTrail, Exit.FAILED),
    (RegistryError, Exit.FAILED),
    (StorageError, Exit.FAILED),
    (ListenFailed, Exit.FAILED),
    (StartFailed, Exit.FAILED),
    (ServerFailed, Exit.FAILED),
)
EXPECTED: tuple[type[Exception], ...] = (Answered, *(kind for kind, _ in _BY_ERROR))


@contextmanager
def told(*, as_json: bool = False) -> Iterator[None]:
    """Turn an expected error into a message on standard error and the exit code."""
    try:
        yield
    except EXPECTED as error:
        code = _code(error)
        if as_json:
            document: dict[str, object] = {"error": redacted(_said(error)), "exit": int(code)}
            if isinstance(error, ConfigError):
                document["problems"] = problem_documents(error.problems)
            print(json.dumps(document, ensure_ascii=False), file=sys.stderr)
        else:
            # It may name what others have named, such as a file on a stick.
            words = map(printable, redacted(_said(error)).split("\n"))
            print("moorage: " + "\n".join(words), file=sys.stderr)
        raise typer.Exit(code) from None


def _said(error: Exception) -> str:
    if isinstance(error, OutOfSpace):
        # Also what removes something has to write down first what it takes.
        return f"{error}; make a little room, outside of the store if need be, and run it again"
    if isinstance(error, ReadOnly) and error.message == ReadOnly.message:
        return f"{error}; see `moorage storage read-only`, and read_only in the configuration"
    return str(error)


def exit_of(code: str, status: object) -> Exit:
    """The exit code for an error that a server answers: by its code, and by how the operation ended."""
    wrong = [kind for kind, exit_code in _BY_ERROR if exit_code is Exit.USAGE]
    if any(issubclass(kind, RegistryError) and kind.code == code for kind in wrong):
        return Exit.USAGE
    if status is None:
        return Exit.REFUSED if code in (Denied.code, Unauthorized.code) else Exit.FAILED
    try:
        return BY_STATUS[Status(status)]
    except ValueError:
        return Exit.FAILED


def _code(error: Exception) -> Exit:
    if isinstance(error, Answered):
        return error.code
    if isinstance(error, StartFailed) and error.refused:
        return Exit.REFUSED
    return next(code for kind, code in _BY_ERROR if isinstance(error, kind))


def problem_documents(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    """Problems as JSON has them."""
    return [{**asdict(problem), "source": str(problem.source)} for problem in problems]
