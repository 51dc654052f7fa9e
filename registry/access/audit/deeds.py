"""What is noted of deeds, and kept: nobody can do what is kept without its being written down first."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast, get_args

from registry import logs
from registry.access.audit.entries import Entry, Event, Outcome
from registry.access.audit.kept import AuditStore
from registry.access.audit.trail import Trail
from registry.access.errors import Unfit
from registry.errors import ReadOnly, RegistryError
from registry.work.inputs import InputField, fields
from registry.work.operations import Context, Operation, Progress, Result, Status
from storage.errors import StorageError

I = TypeVar("I")  # noqa: E741 (the input of an operation)

_LOG = logging.getLogger(__name__)
_SECRET = re.compile(r"password|secret|token")
_OUTCOMES: dict[Status, Outcome] = {
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.REFUSED: "refused",
    Status.DAMAGED: "done",
}

# They are about one tag, the first that they have set.
_ONE_TAG: tuple[Event, ...] = ("tag.restored", "tag.copied")


@dataclass(slots=True)
class Deed:
    """What is being done: its entry, which whoever does it may complete, and what is noted along with it.

    `further` lines go into the trail alone, behind the entry's own.
    """

    entry: Entry
    further: tuple[Entry, ...] = ()

    def complete(self, **fields: Any) -> None:
        """Set fields of the entry that are known only now."""
        self.entry = replace(self.entry, **fields)


class Audit:
    """The trail of this process, and what is kept in the store."""

    def __init__(self, trail: Trail, kept: AuditStore) -> None:
        self.trail = trail
        self.kept = kept

    def note(self, entry: Entry) -> None:
        """Note what has happened in the trail alone."""
        self.trail.note(entry)

    @asynccontextmanager
    async def doing(self, entry: Entry) -> AsyncIterator[Deed]:
        """Around a delete or a change to access: kept as begun before it is done, and then as it ended.

        What cannot be kept is not done: that raises ReadOnly and what the storage raises. What ends in an
        error of the caller was not done, unless that says so, and is forgotten. When it cannot be kept how
        it ended, the entry stays as begun, the log says so, and what was done is done.
        """
        name, begun = await self.kept.begin(self.trail.complete(entry))
        deed = Deed(begun)
        try:
            yield deed
        except (RegistryError, StorageError, Unfit) as error:
            if is_undone(error):
                await self._try(name, self.kept.forget(name))
            else:
                detail = ": ".join(filter(None, (deed.entry.detail, str(error))))
                deed.complete(outcome="failed", detail=detail)
                await self._end(name, deed)
            raise
        except BaseException:
            # Cut off, or an error of our own: it is not known how far it came.
            self._note(deed)
            raise
        if deed.entry.outcome == "begun":
            deed.complete(outcome="done")
        await self._end(name, deed)

    async def _end(self, name: str, deed: Deed) -> None:
        self._note(deed)
        await self._try(name, self.kept.complete(name, deed.entry))

    def _note(self, deed: Deed) -> None:
        for entry in (deed.entry, *deed.further):
            self.trail.note(entry)

    async def _try(self, name: str, keeping: Awaitable[None]) -> None:
        try:
            await keeping
        except StorageError as error:
            logs.event(_LOG, logging.ERROR, "audit.unfinished", entry=name, reason=str(error))


def is_undone(error: BaseException) -> bool:
    """Whether the error says that nothing was done: it was the caller's, or the store takes no writes."""
    if not isinstance(error, RegistryError) or error.in_part:
        return False
    return error.status < 500 or isinstance(error, ReadOnly)


def audited(operation: Operation[I], audit: Callable[[], Audit]) -> Operation[I]:
    """The operation as both doors offer it: what it changes is kept and noted; a dry run changes nothing.

    `audit` gives where to. Raises ValueError for an operation whose event the trail does not know.
    """
    if not operation.changes:
        return operation
    if operation.event not in get_args(Event):
        raise ValueError(f"the audit trail knows no {operation.event}, which {operation.name} is to be")

    async def run(asked: I, context: Context) -> AsyncIterator[Progress | Result]:
        if context.dry_run or operation.looks(asked):
            async for step in operation.run(asked, context):
                yield step
            return
        result = None
        async with audit().doing(_entry(operation, asked, context)) as deed:
            async for step in operation.run(asked, context):
                if isinstance(step, Result):
                    deed.complete(outcome=_OUTCOMES[step.status])
                    _complete(deed, step)
                    result = step
                else:
                    yield step
        if result is not None:
            yield result

    return replace(operation, run=run)


def _complete(deed: Deed, result: Result) -> None:
    """Say in the entry and behind it what the operation has touched: alarms wait for lines of one kind."""
    if result.repository is not None:
        deed.complete(repository=str(result.repository))
    if result.set_tags:
        one = result.set_tags[0]
        if deed.entry.event in _ONE_TAG:
            deed.complete(tag=str(one.tag), digest=one.digest, replaced=one.replaced)
    deed.further += tuple(
        replace(
            deed.entry,
            event="tag.overwritten" if one.replaced else "tag.created",
            repository=str(one.repository),
            tag=str(one.tag),
            digest=one.digest,
            replaced=one.replaced,
        )
        for one in result.set_tags
        if one.replaced != one.digest
    )


def _entry(operation: Operation[I], asked: I, context: Context) -> Entry:
    repository, tag = operation.touches(asked)
    touched = (repository, f"{repository}:{tag}")
    given = ((field, getattr(asked, field.name)) for field in fields(type(asked)))
    told = [
        _told(field, value)
        for field, value in given
        if (field.required or value != field.default) and value not in touched
    ]
    return Entry(
        cast(Event, operation.event),
        who=context.by,
        address=context.address,
        via=context.via,
        agent=context.agent,
        repository=str(repository or ""),
        tag=str(tag or ""),
        rule=context.rule,
        detail=": ".join(filter(None, (" ".join(operation.words), ", ".join(told)))),
    )


def _told(field: InputField, value: object) -> str:
    if value is True:
        return field.name
    if field.secret or _SECRET.search(field.name):
        return f"{field.name} [hidden]"
    written = field.written(value)
    return f"{field.name} {' '.join(map(str, written)) if isinstance(written, list) else written}"
