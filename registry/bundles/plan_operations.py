"""What a bundle is to be about, and what it would be: which images, and how many bytes of each go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.contents import Key
from registry.bundles.exporting import NOTHING, Belief, Order, carried_of
from registry.bundles.format import is_stream
from registry.bundles.given import LIMIT, lines_of_file, read_file
from registry.bundles.inventory import read_inventory
from registry.bundles.selecting import Images, Selected
from registry.bundles.settings import StreamSettings
from registry.bundles.sources import OwnSource, Source
from registry.bundles.statement import Statement, digest_of, key_of
from registry.errors import InputInvalid, RequestInvalid, Unavailable
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.platforms import Platform
from registry.model.units import format_size
from registry.remote.errors import UpstreamError
from registry.work.operations import Context, Operation, Progress, Result, argument, option

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
    """What a bundle would state, and what of it would lie in it.

    `untagged` are referrers that go along, and images that were named by digest.
    """

    stream: str
    parent: str | None
    images: list[PlannedImage]
    untagged: list[PlannedImage]
    manifests: int
    blobs: int
    bytes: int
    carried_files: int
    carried_bytes: int

    def told(self) -> str:
        """An image a line, and the sums."""
        lines = [f"{'+' if one.carried else ' '} {one.image}" for one in (*self.images, *self.untagged)]
        lines.append(
            f"{len(self.images)} images, {len(self.untagged)} without a tag:"
            f" {self.manifests} manifests and {self.blobs} blobs, {format_size(self.bytes)}; of these"
            f" {format_size(self.carried_bytes)} in {self.carried_files} files go (+)"
        )
        return "\n".join(lines)


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """The operation of the near side that changes nothing."""

    async def bundle_plan(asked: Plan, _: Context) -> Outcome:
        async with AsyncExitStack() as stack:
            found = None
            async for step in ordered(bundles(), asked, None, stack):
                if isinstance(step, Progress):
                    yield step
                else:
                    found = step
            assert found is not None
            order, _source = found
        yield Result(planned(order))

    return (
        Operation(
            "bundle.plan",
            "Show which images, blobs and bytes a bundle would have",
            "admin",
            False,
            Plan,
            bundle_plan,
            needs_store=needs_store,
            result=Planned,
        ),
    )


def needs_store(asked: Plan) -> bool:
    """Whether there must be one already: what is taken from elsewhere is only remembered here."""
    return asked.from_ is None


async def ordered(
    bundles: Bundles,
    asked: Plan,
    medium_bytes: int | None,
    stack: AsyncExitStack,
    number: int | None = None,
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
    yield await bundles.order(asked.stream, wanted, selected, belief, medium_bytes, number), source


@contextmanager
def _telling() -> Iterator[None]:
    """What another registry does wrong is told as what keeps this from being done."""
    try:
        yield
    except UpstreamError as error:
        raise Unavailable(f"the images cannot be had: {error}") from None


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
    if not images and asked.images_from is not None:
        raise RequestInvalid(f"the list {asked.images_from} names no image")
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


def _reference(text: str) -> tuple[RepositoryName, Tag | None, Digest | None]:
    name, at, digest = text.partition("@")
    name, colon, tag = name.partition(":")
    return (
        RepositoryName(name),
        Tag(tag) if colon else (None if at else Tag("latest")),
        Digest.parse(digest).require_supported() if at else None,
    )


def planned(order: Order) -> Planned:
    """What the bundle would be."""
    statement = order.selected.statement
    carried = carried_of(order.selected, order.belief.held)
    images = [
        PlannedImage(f"{name}:{tag}", str(digest_of(key)), key in carried)
        for (name, tag), key in statement.tags.items()
    ]
    parts = set(statement.tags.values()).union(*order.selected.small)
    untagged = [
        PlannedImage(f"{one.repositories[0]}@{digest_of(key)}", str(digest_of(key)), key in carried)
        for key, one in statement.manifests.items()
        if key not in parts
    ]
    sizes = [one.size for key, one in statement.all if key in carried]
    return Planned(
        order.stream,
        order.belief.parent,
        images,
        untagged,
        len(statement.manifests),
        len(statement.blobs),
        sum(one.size for _, one in statement.all),
        len(sizes),
        sum(sizes),
    )
