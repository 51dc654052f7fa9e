"""Operations of the near side: plan and write bundles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles, Place
from registry.bundles.exporting import Belief, Order, missing_keys, path_for
from registry.bundles.format import Head, format_of
from registry.bundles.given import LIMIT, read_file
from registry.bundles.plan_operations import Plan, needs_store, ordered
from registry.bundles.records import read_contents
from registry.bundles.selecting import Selected
from registry.bundles.sources import OwnSource, Source
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import DigestInvalid, InputInvalid, RequestInvalid
from registry.model.digests import Digest
from registry.model.units import format_size, parse_size
from registry.work.operations import Context, Operation, Progress, Result, option
from storage.errors import NotFound

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Export(Plan):
    """And where the bundle goes."""

    to: Path | None = option(
        "the folder that is made; bundles.export.dir has it otherwise", default=None, local=True
    )
    tar: Path | None = option("write one tar instead, to a file or a named pipe", default=None, local=True)
    media: str | None = option(
        "the bytes of one medium, 16MiB at least, like 4GiB: a folder for each", default=None
    )
    unsigned: bool = option("do not sign it; `moorage bundle sign` can do that later", default=False)
    key: Path | None = option("sign with this key instead of the configured one", default=None, local=True)
    missing: Path | None = option(
        "carry what this list of an import says is missing", default=None, local=True
    )
    format: int | None = option(
        "write this format, for a far side that does not read the newest: 1", default=None
    )
    again: str | None = option("write this bundle once more, by its id, byte for byte", default=None)


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written."""

    id: str
    stream: str
    number: int
    path: str
    media: int
    images: int
    bytes: int
    carried_files: int
    carried_bytes: int
    signed_by: str | None

    def told(self) -> str:
        """Where it is, and what to do with it."""
        signed = f"signed by {self.signed_by}" if self.signed_by else "NOT signed (`moorage bundle sign`)"
        return (
            f"{self.id}: {self.stream} number {self.number}, {self.images} images,"
            f" {format_size(self.carried_bytes)} of {format_size(self.bytes)} in {self.carried_files} files,"
            f" {signed}\n{self.path}" + (f" ({self.media} media)" if self.media > 1 else "")
        )


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """Operations of the near side."""

    async def bundle_export(asked: Export, context: Context) -> Outcome:
        here = bundles()
        try:
            format_of(asked.format)
        except ValueError as error:
            raise InputInvalid(f"--format: {error}") from None
        key = None if asked.unsigned else here.signing_key(asked.key)
        async with AsyncExitStack() as stack:
            is_again = asked.again is not None
            steps = _again(here, asked, key) if is_again else _export(here, asked, key, stack)
            head = where = None
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                else:
                    head, where = step
        assert head is not None and where is not None
        del context
        yield Result(
            Exported(
                head.id,
                head.stream,
                head.number,
                str(where),
                head.media,
                head.totals.tags,
                head.totals.bytes,
                head.totals.carried_files,
                head.totals.carried_bytes,
                None if key is None else key.public.id,
            )
        )

    return (
        Operation(
            "bundle.export",
            "Write a bundle: a folder that carries what the other side lacks",
            "admin",
            False,
            Export,
            bundle_export,
            needs_store=needs_store,
            changes=True,
            event="bundle.exported",
            result=Exported,
        ),
    )


async def _export(
    bundles: Bundles, asked: Export, key: Any, stack: AsyncExitStack
) -> AsyncIterator[Progress | tuple[Head, Path]]:
    medium_bytes = _medium_bytes(bundles, asked)
    place = _placing(bundles, asked)
    if asked.missing is not None:
        order, source = await _supplement(bundles, asked.missing, medium_bytes)
    else:
        found = None
        async for step in ordered(bundles, asked, medium_bytes, stack, asked.format):
            if isinstance(step, Progress):
                yield step
            else:
                found = step
        assert found is not None
        order, source = found
    async for written in bundles.write(order, source, place, key):
        if isinstance(written, Head):
            yield written, place(written).path
        else:
            yield Progress(*written, "bytes", order.stream)


async def _again(bundles: Bundles, asked: Export, key: Any) -> AsyncIterator[Progress | tuple[Head, Path]]:
    """Write a bundle once more whose record is kept: the same bytes."""
    assert asked.again is not None
    sent = await bundles.exporting.sent.find(asked.again)
    statement = await _stated(bundles, sent.head)
    place = _placing(bundles, asked)(sent.head)
    async for done, total in bundles.files(sent.head, statement, OwnSource(bundles.registry), place, key):
        yield Progress(done, total, "bytes", sent.head.stream)
    await bundles.exporting.sent.note(sent.head, "written", "" if key is None else key.public.id)
    yield sent.head, place.path


async def _supplement(bundles: Bundles, missing: Path, medium_bytes: int | None) -> tuple[Order, Source]:
    """The bundle that carries what an import has found missing of another."""
    bundle, digests = missing_keys(read_file(missing, LIMIT).decode("ascii", "replace").splitlines())
    sent = await bundles.exporting.sent.find(bundle)
    statement = await _stated(bundles, sent.head)
    try:
        wanted = {key_of(Digest.parse(one).require_supported()) for one in digests}
    except DigestInvalid as error:
        raise RequestInvalid(f"{missing}: {error.message}") from None
    stated = {key for key, _ in statement.all}
    if strange := sorted(str(digest_of(one)) for one in wanted - stated):
        raise RequestInvalid(f"{missing}: {bundle} does not state {strange[0]}")
    head = sent.head
    belief = Belief(head.parent, stated - wanted)
    order = Order(
        head.stream,
        head.source,
        head.selection,
        Selected(statement),
        belief,
        medium_bytes,
        tuple(head.provenance),
        supplements=head,
        format=head.format,
    )
    return order, OwnSource(bundles.registry)


async def _stated(bundles: Bundles, head: Head) -> Statement:
    """What a bundle states. Raises RequestInvalid where that is not kept any more."""
    try:
        return await read_contents(bundles.registry.store, head)
    except NotFound:
        raise RequestInvalid(
            f"what {head} states is not kept any more: it was acknowledged or forgotten, or"
            " bundles.export.hold_for is over; export anew"
        ) from None


def _placing(bundles: Bundles, asked: Export) -> Callable[[Head], Place]:
    """Where a bundle goes. Raises InputInvalid, RequestInvalid before one has a number."""
    folder = bundles.settings.export.dir
    if asked.tar is not None and asked.to is not None:
        raise InputInvalid("--to makes a folder and --tar a tar; give one of them")
    if asked.tar is not None:
        if asked.media is not None:
            raise InputInvalid("a tar has no media; leave out --media, or --tar")
        if str(asked.tar) == "-":
            raise InputInvalid("name a file or a named pipe: standard output says what was written")
        tar = asked.tar
        return lambda _: Place(tar, is_tar=True)
    if asked.to is not None:
        to = asked.to
        if to.exists():
            raise RequestInvalid(f"{to} is there already; name another place, or remove it")
        return lambda _: Place(to)
    if folder is None:
        raise InputInvalid("say where the bundle goes: --to FOLDER, or bundles.export.dir")
    return lambda head: Place(path_for(folder, head))


def _medium_bytes(bundles: Bundles, asked: Export) -> int | None:
    if asked.media is None:
        return (asked.tar is None and bundles.settings.export.media) or None
    try:
        return parse_size(asked.media)
    except ValueError as error:
        raise InputInvalid(f"--media: {error}") from None
