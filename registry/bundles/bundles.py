"""All that has to do with bundles in one registry, put together by what is configured."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.bundles.approving import Approving
from registry.bundles.exporting import Belief, Exporting, Order
from registry.bundles.format import Head, Origin, format_of
from registry.bundles.holds import Holds
from registry.bundles.importing import Importing, Judged, Rules, Wish
from registry.bundles.names import Names
from registry.bundles.reading import opened_files
from registry.bundles.receipts import code_of
from registry.bundles.received import Done
from registry.bundles.selecting import Images, Selected, Selecting, described
from registry.bundles.settings import BundlesSettings, StreamSettings, imports
from registry.bundles.signatures import signature_files
from registry.bundles.sources import Source
from registry.bundles.staging import Staging
from registry.bundles.statement import Statement
from registry.bundles.terms import Terms
from registry.bundles.writing import FolderWriter, TarWriter
from registry.core.registry import Registry
from registry.errors import RegistryError, RequestInvalid, TooManyRequests
from registry.logs import event
from registry.work.effects import bounded_effects
from registry.work.leased import Leased
from storage.errors import StorageError

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey, SigningKey

_LOG = logging.getLogger(__name__)

_BY_ITSELF = "moorage"
_LEASE_SECONDS = 10.0  # somebody waits for what goes on where a process died

FINISH_SECONDS = 30.0
"""Between two looks whether something that was decided is left to be done."""

RemoteOpener = Callable[[str], AbstractAsyncContextManager[Source]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bundle is to be written: to a folder, or as a tar; in media of so many bytes."""

    path: Path
    is_tar: bool = False
    medium_bytes: int | None = None


class Bundles:
    """The bundles of one registry; others know this process as `who`.

    `now` tells the store's own time (s). `remote` opens another registry as a source, by its URL.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        settings: BundlesSettings,
        now: Callable[[], Awaitable[float]],
        remote: RemoteOpener,
        *,
        who: str,
    ) -> None:
        self._registry = registry
        self.settings = settings
        self.now = now
        self.remote = remote
        self._leased = Leased(registry, "bundles", "applying bundles", who=who, seconds=_LEASE_SECONDS)

    @property
    def registry(self) -> Registry:
        """The registry that is open."""
        return self._registry()

    @property
    def holds(self) -> Holds:
        """What is kept from retention for bundles that are under way."""
        return Holds(self.registry.store, self.settings.export.hold_for, self.now)

    @property
    def exporting(self) -> Exporting:
        """Who numbers bundles."""
        return Exporting(self.registry.store)

    @property
    def importing(self) -> Importing:
        """Who takes bundles in."""
        return Importing(self.registry, bounded_effects(self.registry.store.effects))

    @property
    def approving(self) -> Approving:
        """Who decides about bundles."""
        effects = bounded_effects(self.registry.store.effects)
        settings = imports(self.settings)

        def names(mappings: Iterable[str]) -> Names:
            # As the import had it: those of the configuration are among them.
            return Names(mappings, settings.repositories)

        terms = Terms(names, self.trusted, settings.required_signatures, settings.approvals)
        return Approving(self.registry, effects, terms)

    def names(self, mappings: Iterable[str]) -> Names:
        """What repositories of bundles are called here, by what is configured and these mappings."""
        settings = imports(self.settings)
        return Names([*settings.map, *mappings], settings.repositories)

    def stream(self, name: str) -> StreamSettings:
        """What is configured of a stream. Raises RequestInvalid."""
        for one in self.settings.export.streams:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.settings.export.streams) or "none is configured"
        raise RequestInvalid(f"there is no stream {name} in bundles.export.streams ({known})")

    def trusted(self) -> list[PublicKey]:
        """The keys that are believed. Raises RequestInvalid for a file that is none."""
        return _public_keys(imports(self.settings).trusted_keys)

    def rules(self, mappings: Iterable[str]) -> Rules:
        """Whom an import believes, and what it lets in."""
        settings = imports(self.settings)
        image_keys = _public_keys(settings.image_keys)
        names, waits = self.names(mappings), settings.approvals > 0
        return Rules(self.trusted(), settings.required_signatures, names, image_keys, waits)

    def signing_key(self, file: Path | None) -> SigningKey:
        """The key in the file, or the configured one. Raises RequestInvalid."""
        chosen = file or self.settings.export.signing_key_file
        if chosen is None:
            raise RequestInvalid(
                "there is no key to sign with: make one (`moorage bundle key new`) and name it in"
                " bundles.export.signing_key_file, or write the bundle --unsigned and sign it later"
            )
        # Here, since it takes cryptography, which those do not need who have no bundles.
        from registry.bundles.keys import read_signing_key

        return read_signing_key(chosen)

    async def select(
        self, source: Source, wanted: StreamSettings | Images, *, allow_sparse: bool
    ) -> AsyncIterator[str | Selected]:
        """Read what is selected; the name of each image, and last all of it."""
        selecting = Selecting(source, bounded_effects(self.registry.store.effects), allow_sparse=allow_sparse)
        steps = selecting.images(wanted) if isinstance(wanted, Images) else selecting.settings(wanted)
        async for name in steps:
            yield name
        yield selecting.selected

    async def order(
        self,
        stream: str,
        wanted: StreamSettings | Images,
        selected: Selected,
        belief: Belief,
        medium_bytes: int | None,
        number: int | None = None,
    ) -> Order:
        """A bundle of what was selected, in the format of a number or the stream's. Raises ValueError."""
        selection = wanted.described() if isinstance(wanted, Images) else described(wanted)
        provenance = await self._provenance(selected.statement)
        source = self.settings.export.source
        if number is None and isinstance(wanted, StreamSettings):
            number = wanted.format
        told = format_of(number)
        return Order(stream, source, selection, selected, belief, medium_bytes, provenance, format=told)

    async def write(
        self,
        order: Order,
        source: Source,
        where: Callable[[Head], Place],
        key: SigningKey | None,
    ) -> AsyncIterator[tuple[int, int] | Head]:
        """Number a bundle and write it; the bytes that are done of how many, and last its head."""
        self.registry.require_writable()
        head, statement = await self.exporting.number(order)
        if order.supplements is not None:
            await self.exporting.sent.note_code(code_of(head), order.supplements)
        async for step in self.files(head, statement, source, where(head), key):
            yield step
        if order.supplements is None:
            await self.exporting.sent.note(head, "written", "" if key is None else key.public.id)
            await self.holds.let_go(head.stream)
        yield head

    async def files(
        self, head: Head, statement: Statement, source: Source, place: Place, key: SigningKey | None
    ) -> AsyncIterator[tuple[int, int]]:
        """Write the files of a bundle; the bytes that are done of how many."""
        content = head.encode()
        signatures = {} if key is None else signature_files(key.public, key.sign(content), content)
        effects = bounded_effects(self.registry.store.effects)
        writer = TarWriter(place.path, effects) if place.is_tar else FolderWriter(place.path, effects)
        done = 0
        async with aclosing(writer.write(head, statement, source, signatures)) as sizes:
            async for size in sizes:
                done += size
                yield done, head.totals.carried_bytes

    async def take_in(
        self, paths: Sequence[Path], rules: Rules, wish: Wish
    ) -> AsyncIterator[tuple[int, int] | Judged]:
        """Import a bundle; how many bytes have come of how many, and last what is known of it.

        Where no approval is needed it is approved, and `finish` is to be called.
        """
        with opened_files(list(paths)) as files:
            async with aclosing(self.importing.run(files, rules, wish)) as steps:
                judged = None
                async for step in steps:
                    if isinstance(step, Judged):
                        judged = step
                    yield step
        if judged is None or not judged.is_staged or imports(self.settings).approvals:
            return
        received = self.importing.received
        if await received.decision(judged.head.id) is None:
            await self.approving.approve(
                judged.head.id,
                wish.by,
                wish.note,
                allow_rollback=wish.allow_rollback,
                denial=wish.denial,
            )

    async def finish(self, bundle: str, by: str) -> AsyncIterator[int | Done]:
        """Do what was decided of a bundle and is not done; nothing where another process is at it."""
        try:
            async with self._leased.held() as step:
                async for one in self.approving.finish(bundle, by):
                    await step()
                    yield one
        except TooManyRequests:
            return

    async def finish_all(self) -> None:
        """Do what was decided of any bundle and is not done, unless another process does."""
        await self._leased.when_due(self._any_open, self._finish_open)

    async def _any_open(self) -> bool:
        return bool(await self.importing.received.open_ones() or await self._half_staged())

    async def _finish_open(self, step: Callable[[], Awaitable[None]]) -> None:
        for bundle in await self._half_staged():
            await step()
            with self._tried(bundle):
                await Staging(self.registry.store).put_away(bundle)
        for bundle in await self.importing.received.open_ones():
            with self._tried(bundle):
                async for _ in self.approving.finish(bundle, _BY_ITSELF):
                    await step()

    async def _half_staged(self) -> list[str]:
        """The bundles of which a part waits that nobody goes on with."""
        staging, received = Staging(self.registry.store), self.importing.received
        found = []
        for bundle in await staging.half_done():
            if await received.done(bundle) is not None:
                found.append(bundle)  # it was rejected before all of it was there
            elif await received.staged(bundle) is not None:
                await staging.end(bundle)
            elif await staging.is_abandoned(bundle, await self.now()):
                found.append(bundle)
        return found

    @contextmanager
    def _tried(self, bundle: str) -> Iterator[None]:
        try:
            yield
        except (RegistryError, StorageError) as error:
            event(_LOG, logging.WARNING, "bundle.unfinished", bundle=bundle, reason=str(error))

    async def _provenance(self, statement: Statement) -> tuple[Origin, ...]:
        """The bundles that have brought content of these repositories, the newest of each stream."""
        names = statement.repositories
        found: dict[tuple[str, str], Origin] = {}
        async for head, _, done in self.importing.received.applied():
            if names.isdisjoint(done.repositories):
                continue
            for one in (*head.provenance, Origin(head.source, head.stream, head.number, head.id)):
                held = found.get((one.source, one.stream))
                if held is None or held.number < one.number:
                    found[one.source, one.stream] = one
        return tuple(found[key] for key in sorted(found))


def _public_keys(files: Iterable[Path]) -> list[PublicKey]:
    chosen = list(files)
    if not chosen:
        return []
    # Here, since it takes cryptography, which those do not need who have no bundles.
    from registry.bundles.keys import read_public_key

    return [read_public_key(one) for one in chosen]
