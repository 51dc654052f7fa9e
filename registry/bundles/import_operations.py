"""Taking bundles in, as an operation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.errors import BundleRefused, told_if_full
from registry.bundles.given import require_writable, write_file
from registry.bundles.importing import Judged, Wish
from registry.bundles.list_operations import state_of
from registry.bundles.receipts import receipt_of
from registry.bundles.received import Done, Staged
from registry.bundles.records import read_contents
from registry.bundles.settings import imports
from registry.errors import RequestInvalid
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option

Outcome = AsyncIterator[Progress | Result]

_TOLD = 20


@dataclass(frozen=True, slots=True)
class Import:
    """Which bundle, and how it is taken in."""

    path: tuple[str, ...] = argument("the folders of a bundle, or its tar (- is standard input)")
    map: tuple[str, ...] = option("a prefix of names and what stands for it here: hub/=mirror/", default=())
    allow_rollback: bool = option("take an older state than the one that was approved last", default=False)
    delete: bool = option("remove selected tags that the bundle does not have", default=False)
    note: str = option("what to write into the receipt and the audit trail", default="")
    missing_to: Path | None = option("where to write the list of what is missing", default=None, local=True)
    receipt_to: Path | None = option("where to write the receipt", default=None, local=True)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a bundle; `state` is missing, incomplete, checked, staged, approved or rejected.

    `delete` says whether selected tags go that it does not have, as it was asked when it was accepted;
    `sparse` is how many of its manifests list what it does not have.
    """

    id: str
    stream: str
    number: int
    source: str
    state: str
    signed_by: list[str]
    repositories: list[str]
    tags: int
    carried_bytes: int
    missing: list[str] = field(default_factory=list)
    media: list[int] = field(default_factory=list)
    receipt: str = ""
    moves: list[str] = field(default_factory=list)
    moved: int = 0
    left: list[str] = field(default_factory=list)
    delete: bool = False
    sparse: int = 0
    list_of_missing: str = ""
    approvals: int = 0
    unread_files: int = 0

    def told(self) -> str:
        """What has happened, and what to do next."""
        lines = [f"{self.id}: {self.stream} number {self.number} from {self.source}, {self.tags} tags"]
        signed = ", ".join(self.signed_by)
        lines.append(f"signed by {signed}" if signed else "NOT signed by a trusted key")
        if self.sparse:
            lines.append(f"{self.sparse} of its manifests are sparse: not all that they list belongs to it")
        if self.unread_files:
            lines.append(f"{self.unread_files} of its files were not read, since what they hold is here")
        match self.state:
            case "missing":
                lines.append(f"{len(self.missing)} manifests and blobs are neither in it nor here:")
                lines += _some([f"  {one}" for one in self.missing])
                ask = f"moorage bundle export {self.stream} --missing {self.list_of_missing or 'FILE'}"
                first = "" if self.list_of_missing else "have them listed (--missing-to FILE), and "
                lines.append(f"nothing is visible; {first}ask for them there: {ask}")
            case "incomplete":
                media = ", ".join(str(one) for one in self.media)
                lines.append(f"what is here was kept; import the media that are still to come: {media}")
            case "checked":
                moves = "it would move:" if self.moves else "it would move no tag"
                lines.append(f"it may be imported ({', '.join(self.repositories[:_TOLD])}); {moves}")
                lines += _some([f"  {one}" for one in self.moves])
            case "staged":
                if self.delete:
                    lines.append("selected tags that it does not have are removed with it (--delete)")
                people = "1 person" if self.approvals == 1 else f"{self.approvals} people"
                lines.append(
                    f"it waits below staged/{self.id}/ for {people} other than who imported it to approve it:"
                    f" moorage bundle approve {self.id}"
                )
            case _:
                lines.append(f"{self.state}; {self.moved} tags were moved")
                lines += _some([f"  {one} stays as it is: somebody has moved it" for one in self.left])
        return "\n".join(lines)


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """Operations of the far side."""

    async def bundle_import(asked: Import, context: Context) -> Outcome:
        here = bundles()
        require_writable(asked.missing_to, asked.receipt_to)
        rules = here.rules(asked.map)
        wish = Wish(
            context.person,
            asked.allow_rollback,
            asked.delete,
            asked.note,
            context.dry_run,
            denial=context.denial,
        )
        judged = None
        done = None
        with told_if_full("the bundle"):
            async for step in here.take_in(_paths(here, asked.path, context), rules, wish):
                if isinstance(step, Judged):
                    judged = step
                else:
                    yield Progress(*step, "bytes", "import")
            assert judged is not None
            if judged.is_staged and not context.dry_run:
                async for applied in here.finish(judged.head.id, context.by):
                    if isinstance(applied, Done):
                        done = applied
                    else:
                        yield Progress(applied, None, "items", "approve")
        imported = await _imported(here, judged, done, wish)
        if imported.missing and asked.missing_to is not None:
            write_file(asked.missing_to, missing_text(judged))
            imported = replace(imported, list_of_missing=str(asked.missing_to))
        if imported.receipt and asked.receipt_to is not None:
            write_file(asked.receipt_to, imported.receipt)
        failed = imported.state in ("missing", "incomplete")
        yield Result(imported, Status.FAILED if failed else Status.DONE)

    return (
        Operation(
            "bundle.import",
            "Take a bundle in: judge it, and stage what it brings",
            "admin",
            False,
            Import,
            bundle_import,
            changes=True,
            rehearses=True,
            event="bundle.imported",
            result=Imported,
        ),
    )


def _some(lines: list[str]) -> list[str]:
    """So many that a person reads them, and how many there are besides."""
    more = len(lines) - _TOLD
    return lines if more <= 0 else [*lines[:_TOLD], f"  and {more} more (--json has all)"]


def missing_text(judged: Judged) -> str:
    """The list of what is missing, for the near side."""
    lines = [
        f"# What {judged.head} states, and is neither in it nor here.",
        f"# On the near side: moorage bundle export {judged.head.stream} --missing THIS_FILE",
        f"bundle {judged.head.supplements or judged.head.id}",
        *judged.missing,
    ]
    return "\n".join([*lines, ""])


async def _moves(bundles: Bundles, judged: Judged, wish: Wish) -> list[str]:
    """The tags that a bundle would move as things are."""
    staged = await bundles.importing.received.staged(judged.head.id)
    if staged is None:
        names = {name: str(here) for name, here in judged.names.items()}
        staged = Staged(wish.by, names, list(judged.map), wish.delete, "", [], "")
    statement = judged.statement
    if judged.is_staged:
        statement = await read_contents(bundles.registry.store, judged.head, received=True)
    return [one.text async for one in bundles.approving.moves(judged.head, staged, statement)]


async def _imported(bundles: Bundles, judged: Judged, done: Done | None, wish: Wish) -> Imported:
    head = judged.head
    if judged.missing:
        state = "missing"
    elif not judged.is_staged:
        state = "incomplete" if judged.media else "checked"
    else:
        state = await state_of(bundles, head.id)
    # Of several imports of one bundle the first that was accepted said what its repositories are called here.
    staged = await bundles.importing.received.staged(head.id) if judged.is_staged else None
    names = judged.names.values() if staged is None else staged.names.values()
    return Imported(
        head.id,
        head.stream,
        head.number,
        head.source,
        state,
        [one.id for one in judged.signed_by],
        sorted({str(one) for one in names}),
        head.totals.tags,
        head.totals.carried_bytes,
        judged.missing,
        judged.media,
        receipt_of(head, wish.note) if judged.is_staged else "",
        await _moves(bundles, judged, wish) if state in ("checked", "staged") else [],
        0 if done is None else done.moved,
        [] if done is None else list(done.left),
        delete=wish.delete if staged is None else staged.delete,
        sparse=judged.sparse,
        approvals=imports(bundles.settings).approvals,
        unread_files=judged.unread,
    )


def _paths(bundles: Bundles, names: Iterable[str], context: Context) -> list[Path]:
    """Where a bundle lies: anywhere for who works on this machine, else in the folder for bundles."""
    if context.via == "command line":
        return [Path(one) for one in names]
    folder = imports(bundles.settings).dir
    if folder is None:
        raise BundleRefused(
            "bundles are imported over the network from bundles.import.dir, which is not set; import it on"
            " the machine of the registry"
        )
    found = []
    for one in names:
        if not one or "\0" in one or Path(one).name != one or one.startswith("."):
            raise RequestInvalid(f"{one} is no name of a folder or tar in bundles.import.dir")
        path = folder / one
        if path.exists() and not (path.is_dir() or path.is_file()):
            # A pipe would be waited for by all of this process.
            raise RequestInvalid(f"{one} in bundles.import.dir is neither a folder nor a file")
        found.append(path)
    return found
