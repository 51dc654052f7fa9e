"""Collection: one run over the whole store, by whoever holds its lease, from where the last one got to.

What no manifest needs goes from its repository, data that no repository links to goes to the trash, and what
has been in the trash for long enough is destroyed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from registry.removal.collector import Collector
from registry.removal.mark import Trouble, found
from registry.removal.runs import Run, Runs
from registry.removal.tally import Tally
from registry.removal.trash import FLOOR, time_kept
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.reports import Collection, Kept
from storage.errors import NotFound

_SAVE_SECONDS = 30.0
_UNREADABLE = (
    "this record of a removal cannot be read, so what it took stays in the trash; without the record it goes"
)
_UNFINISHED = (
    "this removal was cut off more than a day ago and cannot be finished, since this mark, or something of"
    " the repository, cannot be read; what it took stays in the trash as long as the mark is here"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How old something is before it is taken, and how long and how much (bytes) the trash keeps."""

    grace: timedelta
    keep_for: timedelta
    keep_bytes: int | None


async def collect(
    store: Store,
    report: Collection,
    rules: Rules,
    *,
    now: float,
    save: Callable[[Collection], Awaitable[None]],
    step: Callable[[], Awaitable[None]],
    clock: Callable[[], float],
) -> AsyncIterator[Collection]:
    """Collect, from where `report` says on; yields it after each piece of work.

    `now` is the time (s) by the store's own clock. `save` keeps the report in the store every half minute by
    the `clock` (monotonic). `step` is called between handfuls of work and raises what ends it.
    """
    collector = Collector(store, now=now, grace=rules.grace, step=step, dry_run=report.dry_run)
    saved = clock()
    async for _ in _phases(store, collector, report, rules, step):
        yield report
        if clock() - saved > _SAVE_SECONDS and not report.dry_run:
            await save(report)
            saved = clock()
    report.phase, report.after = "done", ""
    report.ended = store.effects.now()
    if not report.dry_run:
        await save(report)
    yield report


async def _phases(
    store: Store,
    collector: Collector,
    report: Collection,
    rules: Rules,
    step: Callable[[], Awaitable[None]],
) -> AsyncIterator[None]:
    # What was marked before is not written down anywhere: links are followed again, and nothing else is.
    done = f"{report.after}/_" if report.phase == "links" and report.after else ""
    async for repository in found(store, step, past_closed=True):
        needed = await collector.mark.follow(repository, step)
        # In the order of the walk, which is not that of the names.
        if report.phase != "links" or f"{repository.path}/_" <= done:
            collector.mark.hold(repository, needed)
            continue
        taken = await collector.take_links(repository, needed)
        report.repositories += 1
        report.manifests += len(needed.read)
        report.links += len(repository.layers)
        report.links_taken += taken.count
        report.links_put_back += taken.put_back
        report.kept_young += taken.kept_young
        report.repositories_kept_whole += bool(needed.troubles)
        for trouble in needed.troubles:
            report.trouble(_kept(trouble))
        _tell(collector, report)
        report.after = repository.path
        yield
    if report.phase == "links":
        report.phase, report.after = "data", ""
    if report.phase == "data" and collector.mark.is_unsure:
        # A link that could not be read just now may hold on to anything.
        report.data_left_alone = True
        report.phase, report.after = "trash", ""
    if report.phase == "data":
        async for after, taken in collector.take_data(after=report.after):
            report.after = after
            report.blobs_taken += taken.count
            report.bytes_taken += taken.size_bytes
            report.blobs_put_back += taken.put_back
            report.kept_young += taken.kept_young
            _tell(collector, report)
            yield
        _tell(collector, report)
        await collector.forget_marks()
        report.phase, report.after = "trash", ""
    due = await overdue(store, rules, now=collector.now, step=step, trouble=report.trouble)
    tidied = await collector.tidy_trash(due)
    report.blobs_put_back += tidied.put_back
    report.removals_destroyed += tidied.count
    report.bytes_destroyed += tidied.size_bytes
    _tell(collector, report)
    yield


async def overdue(
    store: Store,
    rules: Rules,
    *,
    now: float,
    step: Callable[[], Awaitable[None]],
    floor: timedelta = FLOOR,
    trouble: Callable[[Kept], None] | None = None,
) -> list[Run]:
    """What has been in the trash for long enough, or is too much: the oldest first, none below the floor.

    Nor one that was not finished, and may be under way or have died: what it took may be needed yet. Of what
    stays for good for want of a record, or of an end, `trouble` is told.
    """
    tell = trouble or (lambda _: None)
    runs = Runs(store.driver, store.effects)
    unfinished = set(await store.driver.children(layout.TRASH_OPEN))
    for name in sorted(unfinished):
        with suppress(NotFound):
            marked = (await store.driver.stat(layout.trash_open(name))).modified_at.timestamp()
            if now - marked > FLOOR.total_seconds():
                tell(Kept("", layout.trash_open(name), _UNFINISHED))
    aged: list[tuple[float, str]] = []
    async for name in runs.names():
        await step()
        if name in unfinished:
            continue
        try:
            written = (await store.driver.stat(layout.trash_run(name))).modified_at.timestamp()
        except NotFound:
            continue
        aged.append((now - written, name))
    aged.sort(reverse=True)
    due: list[Run] = []
    young: list[tuple[float, Run]] = []
    for age, name in aged:
        is_due = age > time_kept(name, rules.keep_for, floor).total_seconds()
        if not is_due and rules.keep_bytes is None:
            continue
        await step()
        run = await runs.read(name)
        if run is None:
            if is_due:
                tell(Kept("", layout.trash_run(name), _UNREADABLE))
            continue
        if not (run.done or age > FLOOR.total_seconds()):
            continue
        if is_due:
            due.append(run)
        else:
            young.append((age, await _sized(store, run)))
    if rules.keep_bytes is not None:
        excess = sum(_size(run) for _, run in young) - rules.keep_bytes
        for age, run in young:
            if excess <= 0 or age <= floor.total_seconds():
                break
            due.append(run)
            excess -= _size(run)
    return due


def _tell(collector: Collector, report: Collection) -> None:
    report.count(collector.tally)
    collector.tally = Tally()
    while collector.strays:
        report.trouble(_kept(collector.strays.pop(0)))


async def _sized(store: Store, run: Run) -> Run:
    """The run with the sizes of manifests that lie whole in the trash, which its record does not have."""
    moves = []
    for move in run.moves:
        if parsing.is_whole_manifest(move.key):
            with suppress(NotFound):  # it lay elsewhere, or came back
                move = replace(move, size_bytes=(await store.driver.stat(move.trash)).size_bytes)
        moves.append(move)
    return replace(run, moves=tuple(moves))


def _size(run: Run) -> int:
    return sum(move.size_bytes for move in run.moves)


def _kept(trouble: Trouble) -> Kept:
    return Kept(trouble.repository, trouble.content, trouble.problem)
