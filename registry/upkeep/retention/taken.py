"""What became of a tag that is not there: who took it, when, by which rule, and how it comes back."""

from __future__ import annotations

from registry.model.names import RepositoryName, Tag
from registry.removal.runs import Runs
from registry.store import layout
from registry.store.history import Move
from registry.store.store import Store
from registry.upkeep.retention.reports import BY, Retentions

_LOOKED_AT = 30  # reports: all that are kept


async def what_became_of(store: Store, name: RepositoryName, tag: Tag) -> str:
    """Sentences about a tag that is not there; empty where its history does not say that it was taken."""
    newest = await store.history.newest(name, tag, limit=1)
    move = await store.history.read(f"{layout.history(name, tag)}/{newest[0]}") if newest else None
    if move is None or move.digest is not None or move.replaced is None:
        return ""
    run, why = await _removal(store, name, tag, move)
    whose = f"{move.by}, {why}," if why else move.by
    which = f" (run {run})" if run else ""
    at = move.at.isoformat(sep=" ", timespec="seconds")
    return (
        f"it was taken by {whose} at {at}{which}. `moorage tag history {name}:{tag}` says what it has named,"
        f" and `moorage tag restore {name}:{tag}@{move.replaced}` brings it back"
    )


async def _removal(store: Store, name: RepositoryName, tag: Tag, move: Move) -> tuple[str, str]:
    """The run that took the tag, while the trash has it, and the reason; empty what is not known."""
    runs = Runs(store.driver, store.effects)
    taken = [await runs.read(one) for one in await store.driver.children(layout.trash_tag(name, tag))]
    known = [run for run in taken if run is not None and run.by == move.by]
    if known:
        last = max(known, key=lambda run: run.at)
        return last.name, last.why
    for report in await Retentions(store).last(_LOOKED_AT) if move.by == BY else ():
        for one in report.decisions:
            if (one.repository, one.tag, one.stays) == (name, tag, False) and not report.dry_run:
                return "", one.for_the_record
    return "", ""
