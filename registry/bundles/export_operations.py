"""Operations of the near side: plan and write bundles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles, Place
from registry.bundles.contents import Key
from registry.bundles.exporting import NOTHING, Belief, Order, carried_of, missing_keys, path_for
from registry.bundles.format import Head, is_stream
from registry.bundles.given import LIMIT, lines_of_file, read_file
from registry.bundles.inventory import read_inventory
from registry.bundles.records import read_contents
from registry.bundles.selecting import Images, Selected
from registry.bundles.settings import StreamSettings
from registry.bundles.sources import OwnSource, Source
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import DigestInvalid, InputInvalid, RequestInvalid, Unavailable
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.platforms import Platform
from registry.model.units import format_size, parse_size
from registry.remote.errors import UpstreamError
from registry.work.operations import Context, Operation, Progress, Result, argument, option
from storage.errors import NotFound

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bundle is to be about, and what the other side is believed to hold."""

    stream: str = argument("the stream: one of bundles.export.streams, or any name with --images-from")
    image: tuple[str, ...] = option("an image such as team/app:1.0; may be given often", default=())
    images_from: Path | None = option(
        "a file with an image on each line (- is standard input)", default=None, local=True
    )
    from_: str | None = option("take images from this registry instead of our own", default=None, local=True)
    platform: tuple[Platform, ...] = option("of an index only these, like linux/amd64", default=())
    without_referrers: bool = option("leave out signatures and other referrers", default=False)
    full: bool = option("carry everything, whatever has arrived", default=False)
    inventory: Path | None = option("what the other side says that it holds", default=None, local=True)
    one_way: bool = option("count what was written as arrived", default=False)
    allow_sparse: bool = option("leave out what is not here", default=False)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that is selected; `carried` says whether its manifest lies in the bundle."""

    image: str
    digest: str
    carried: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """What a bundle would state, and what of it would lie in it."""

    stream: str
    parent: str | None
    images: list[PlannedImage]
    manifests: int
    blobs: int
    bytes: int
    carried_files: int
    carried_bytes: int

    def told(self) -> str:
        """An image a line, and the sums."""
        lines = [f"{'+' if one.carried else ' '} {one.image}" for one in self.images]
        lines.append(
            f"{len(self.images)} images: {self.manifests} manifests and {self.blobs} blobs,"
            f" {format_size(self.bytes)}; of these"
            f" {format_size(self.carried_bytes)} in {self.carried_files} files go (+)"
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Export(Plan):
    """And where the bundle goes."""

    to: Path | None = option(
        "the folder that is made; bundles.export.dir has it otherwise", default=None, local=True
    )
    tar: Path | None = option("write one tar instead, to a file or a named pipe", default=None, local=True)
    media: str | None = option("the bytes of one medium, like 4GiB: a folder for each", default=None)
    unsigned: bool = option("do not sign it; `moorage bundle sign` can do that later", default=False)
    key: Path | None = option("sign with this key instead of the configured one", default=None, local=True)
    missing: Path | None = option(
        "carry what this list of an import says is missing", default=None, local=True
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

    async def bundle_plan(asked: Plan, _: Context) -> Outcome:
        async with AsyncExitStack() as stack:
            found = None
            async for step in _ordered(bundles(), asked, None, stack):
                if isinstance(step, Progress):
                    yield step
                else:
                    found = step
            assert found is not None
            order, _source = found
        yield Result(_planned(order))

    async def bundle_export(asked: Export, context: Context) -> Outcome:
        here = bundles()
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
            "bundle.plan",
            "Show which images, blobs and bytes a bundle would have",
            "admin",
            False,
            Plan,
            bundle_plan,
            needs_store=_needs_store,
            result=Planned,
        ),
        Operation(
            "bundle.export",
            "Write a bundle: a folder that carries what the other side lacks",
            "admin",
            False,
            Export,
            bundle_export,
            needs_store=_needs_store,
            changes=True,
            event="bundle.exported",
            result=Exported,
        ),
    )


def _needs_store(asked: Plan) -> bool:
    """Whether there must be one already: what is taken from elsewhere is only remembered here."""
    return asked.from_ is None


async def _ordered(
    bundles: Bundles, asked: Plan, medium_bytes: int | None, stack: AsyncExitStack
) -> AsyncIterator[Progress | tuple[Order, Source]]:
    """Read what is selected; last the bundle that is to be written, and where its bytes are."""
    source: Source = OwnSource(bundles.registry)
    if asked.from_ is not None:
        stack.enter_context(_telling())
        source = await stack.enter_async_context(bundles.remote(asked.from_))
    wanted = _wanted(bundles, asked)
    selected = None
    count = 0
    async for step in bundles.select(source, wanted, allow_sparse=asked.allow_sparse):
        if isinstance(step, Selected):
            selected = step
        else:
            count += 1
            yield Progress(count, None, "items", step)
    assert selected is not None
    one_way = asked.one_way or (isinstance(wanted, StreamSettings) and wanted.one_way)
    belief = await _belief(bundles, asked, selected.statement, source, one_way=one_way)
    yield await bundles.order(asked.stream, wanted, selected, belief, medium_bytes), source


@contextmanager
def _telling() -> Iterator[None]:
    """What another registry does wrong is told as what keeps this from being done."""
    try:
        yield
    except UpstreamError as error:
        raise Unavailable(f"the images cannot be had: {error}") from None


async def _export(
    bundles: Bundles, asked: Export, key: Any, stack: AsyncExitStack
) -> AsyncIterator[Progress | tuple[Head, Path]]:
    medium_bytes = _medium_bytes(bundles, asked)
    place = _placing(bundles, asked)
    if asked.missing is not None:
        order, source = await _supplement(bundles, asked.missing, medium_bytes)
    else:
        found = None
        async for step in _ordered(bundles, asked, medium_bytes, stack):
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


async def _belief(
    bundles: Bundles, asked: Plan, statement: Statement, source: Source, *, one_way: bool
) -> Belief:
    if asked.full and asked.inventory is not None:
        raise InputInvalid("--full carries everything and --inventory does not; give one of them")
    if asked.full:
        return NOTHING
    if asked.inventory is None:
        return await bundles.exporting.believed(asked.stream, statement, one_way=one_way)
    inventory = read_inventory(read_file(asked.inventory, LIMIT))
    held = set[Key](inventory.whole | inventory.sparse)
    for key in inventory.whole & statement.manifests.keys():
        stored = await source.manifest(
            RepositoryName(statement.manifests[key].repositories[0]), digest_of(key)
        )
        if stored is not None:
            manifest = await bundles.registry.store.effects.aside(stored.parse)
            held |= {key_of(one.digest) for one in manifest.references}
    return Belief(f"inventory:{inventory.sha256}", held)


def _wanted(bundles: Bundles, asked: Plan) -> StreamSettings | Images:
    images = [*asked.image, *(lines_of_file(asked.images_from) if asked.images_from is not None else ())]
    if not images:
        return bundles.stream(asked.stream)
    if any(one.name == asked.stream for one in bundles.settings.export.streams):
        raise RequestInvalid(
            f"{asked.stream} is a stream of the configuration, and its bundles build on one another: give"
            " images that are named by hand a stream of another name"
        )
    if not is_stream(asked.stream):
        raise InputInvalid(f"a stream is called like weekly or plant-2, not {asked.stream}")
    return Images([_reference(one) for one in images], asked.platform, not asked.without_referrers)


def _planned(order: Order) -> Planned:
    statement = order.selected.statement
    carried = carried_of(order.selected, order.belief.held)
    images = [
        PlannedImage(f"{name}:{tag}", str(digest_of(key)), key in carried)
        for (name, tag), key in statement.tags.items()
    ]
    sizes = [one.size for key, one in statement.all if key in carried]
    return Planned(
        order.stream,
        order.belief.parent,
        images,
        len(statement.manifests),
        len(statement.blobs),
        sum(one.size for _, one in statement.all),
        len(sizes),
        sum(sizes),
    )


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


def _reference(text: str) -> tuple[RepositoryName, Tag | None, Digest | None]:
    name, at, digest = text.partition("@")
    name, colon, tag = name.partition(":")
    return (
        RepositoryName(name),
        Tag(tag) if colon else (None if at else Tag("latest")),
        Digest.parse(digest).require_supported() if at else None,
    )
