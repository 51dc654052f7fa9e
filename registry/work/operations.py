"""Operations: administrative verbs as data, so that every door offers the same ones.

A room offers operations; the composition root puts them into one table; the command line (and the API) are
generic over it. An operation is an async function from an input and a context to progress and, last, a
result. Its input is a frozen dataclass whose fields were made with `argument` and `option`:

    @dataclass(frozen=True, slots=True)
    class ListTags:
        repository: RepositoryName = argument("the repository")
        limit: int | None = option("at most so many", default=None)

`registry/work/inputs.py` says which types they may have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from registry.errors import Damaged, Denied, ReadOnly, Unauthorized, Unsupported
from registry.model.names import RepositoryName, Tag

I = TypeVar("I")  # noqa: E741 (the input)

Reason = Callable[[str, RepositoryName | None, Tag | None], str | None]
"""Why somebody may not do something to a repository, or a tag of it; None where nothing is against it."""

# What an operation touches: a repository and a tag of it, a repository, or (None) the registry as a whole.
Touched = tuple[RepositoryName | None, Tag | None]


class Status(Enum):
    """How an operation ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: `done` of `total` (None: not known) bytes or items; `text` says with what.

    In seconds it waits, and the text says for what: that is told also where no progress is.
    """

    done: int
    total: int | None = None
    unit: Literal["bytes", "items", "seconds"] = "items"
    text: str = ""


@dataclass(frozen=True, slots=True)
class TagSet:
    """A tag that an operation has set: what it names now, and what it named before (empty: it is new)."""

    repository: RepositoryName
    tag: Tag
    digest: str
    replaced: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: `value` is a dataclass of plain values, `text` a sentence for people if need be.

    `set_tags` and the `repository` that it was about, where the input does not name it, are for the trail.
    """

    value: object
    status: Status = Status.DONE
    text: str = ""
    set_tags: tuple[TagSet, ...] = ()
    repository: RepositoryName | None = None


def nothing(right: str, repository: RepositoryName | None, tag: Tag | None) -> str | None:
    """What the operator is refused."""
    del right, repository, tag
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, and whether only to say what would be done.

    `refusal` tells why who asks may not do something to what is touched besides, None where they may: an
    operation shows and takes only that. `denial` does so only where a rule denies it, and not where none
    grants it: for what an operation does by another right. Who asks by a key does so on `behalf` of its
    owner. The rest is for the audit trail: where from, how it is known who asks, by which program, and the
    rule that allows it.
    """

    by: str
    dry_run: bool = False
    refusal: Reason = nothing
    denial: Reason = nothing
    behalf: str = ""
    address: str = ""
    via: str = "command line"
    agent: str = ""
    rule: str = ""

    def may(self, right: str, repository: RepositoryName | None, tag: Tag | None) -> bool:
        """Whether who asks may do it."""
        return self.refusal(right, repository, tag) is None

    @property
    def person(self) -> str:
        """Who is behind it: two keys of one person's are not two people."""
        return self.behalf or self.by


@dataclass(frozen=True, slots=True)
class Operation(Generic[I]):
    """One verb: `name` is `noun.verb`, or `noun.noun.verb`.

    `right` is what the rules must grant for it on what it `touches`. `run` yields `Progress` any number of
    times and one `Result` last, whose value is a `result`; what `rehearses`, as all does that `deletes`,
    heeds `dry_run`, and whatever `changes` anything is done to its end once it has begun. It raises
    RegistryError or StorageError when it cannot be done; `touches` raises
    RegistryError for an input that names nothing. `needs_store` says whether there must be a store already
    for what is asked, or a directory for one is enough; what has its `own_places` opens what its input names.
    What is `local` is done on the machine of the store alone, by the command line. `event` is what the audit
    trail calls it where it changes something, but for inputs with which it only `looks`.
    """

    name: str
    summary: str
    right: str
    deletes: bool
    input: type[I]
    run: Callable[[I, Context], AsyncIterator[Progress | Result]]
    needs_store: Callable[[I], bool] = lambda _: True
    touches: Callable[[I], Touched] = lambda _: (None, None)
    changes: bool = False
    rehearses: bool = False
    looks: Callable[[I], bool] = lambda _: False
    local: bool = False
    own_places: bool = False
    event: str = "access.changed"
    result: type[Any] = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        if self.deletes:
            object.__setattr__(self, "changes", True)
            object.__setattr__(self, "rehearses", True)

    @property
    def words(self) -> tuple[str, ...]:
        """Noun and verb, and a noun between the two where it is of that."""
        return tuple(self.name.split("."))


def status_of(error: Exception) -> Status:
    """How an operation ended that raised this."""
    if isinstance(error, Denied | Unauthorized | Unsupported | ReadOnly):
        return Status.REFUSED
    return Status.DAMAGED if isinstance(error, Damaged) else Status.FAILED


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


def option(
    help: str,  # noqa: A002 (typer's word)
    *,
    default: Any = dataclasses.MISSING,
    secret: bool = False,
    new: bool = True,
    local: bool = False,
) -> Any:
    """A field of an input that is given by its name, and may be left out if it has a default.

    A `secret` has none: on the command line it is asked for (twice if it is `new`) or read from standard
    input. It is never shown, and what refuses one must not repeat it. What is `local` has a default, and
    works on the machine of the store alone.
    """
    required = default is dataclasses.MISSING
    if secret and not required:
        raise TypeError("a secret has no default")
    if local and required:
        raise TypeError("what is local has a default")
    about = {"help": help, "place": "option", "secret": secret, "new": new, "local": local}
    return dataclasses.field(default=default, metadata=about, repr=not secret, kw_only=required)
