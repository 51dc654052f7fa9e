"""Operations: administrative verbs as data, so that every door offers the same ones.

A room offers operations; the composition root puts them into one table; the command line (and the API) are
generic over it. An operation is an async function from an input and a context to progress and, last, a
result. Its input is a frozen dataclass whose fields were made with `argument` and `option`:

    @dataclass(frozen=True, slots=True)
    class ListTags:
        repository: RepositoryName = argument("the repository")
        limit: int | None = option("at most so many", default=None)
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

I = TypeVar("I")  # noqa: E741 (the input)


class Status(Enum):
    """How an operation ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: `done` of `total` (None: not known) bytes or items; `text` says with what."""

    done: int
    total: int | None = None
    unit: Literal["bytes", "items"] = "items"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: `value` is a dataclass of plain values, `text` a sentence for people if need be."""

    value: object
    status: Status = Status.DONE
    text: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, and whether only to say what would be done."""

    by: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Operation(Generic[I]):
    """One verb: `name` is `noun.verb`, `right` what the rules must grant for it.

    `run` yields `Progress` any number of times and one `Result` last; what `deletes` heeds `dry_run`. It
    raises RegistryError or StorageError when it cannot be done. `needs_store` says whether there must be a
    store already for what is asked, or a directory for one is enough.
    """

    name: str
    summary: str
    right: str
    deletes: bool
    input: type[I]
    run: Callable[[I, Context], AsyncIterator[Progress | Result]]
    needs_store: Callable[[I], bool] = lambda _: True


class Operations:
    """The table; entered as an async context manager, the storage that it works on is open.

    Making a table must do no I/O: doors list it to show what there is.
    """

    def __init__(
        self,
        offered: Iterable[Operation[Any]],
        opening: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._by_name: dict[str, Operation[Any]] = {}
        for operation in offered:
            if operation.name in self._by_name:
                raise ValueError(f"two operations are called {operation.name}")
            self._by_name[operation.name] = operation
        self._opening = opening
        self._open: AbstractAsyncContextManager[object] | None = None

    def __iter__(self) -> Iterator[Operation[Any]]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Operation[Any]:
        return self._by_name[name]

    async def __aenter__(self) -> Operations:
        self._open = self._opening()
        await self._open.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._open is not None
        return await self._open.__aexit__(kind, error, trace)


def argument(help: str, *, default: Any = dataclasses.MISSING) -> Any:  # noqa: A002 (typer's word)
    """A field of an input that is given by its place; its type may be a value that parses a text."""
    return dataclasses.field(default=default, metadata={"help": help, "place": "argument"})


def option(help: str, *, default: Any) -> Any:  # noqa: A002 (typer's word)
    """A field of an input that is given by its name and may be left out."""
    return dataclasses.field(default=default, metadata={"help": help, "place": "option"})
