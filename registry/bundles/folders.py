"""Folders that just work: bundles that lie in one are imported, and streams are written to another."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from registry.bundles.bundles import Bundles, Place
from registry.bundles.errors import told_if_full
from registry.bundles.exporting import path_for
from registry.bundles.format import HEAD, Head
from registry.bundles.given import put_anew
from registry.bundles.import_operations import missing_text
from registry.bundles.importing import Judged, Wish
from registry.bundles.reading import opened_files
from registry.bundles.receipts import receipt_of
from registry.bundles.selecting import Selected
from registry.bundles.settings import StreamSettings, imports
from registry.bundles.sources import OwnSource
from registry.errors import OutOfSpace, RegistryError
from registry.logs import event
from registry.store import layout
from registry.work.leased import Leased
from registry.work.reports import is_due
from storage.errors import NotFound, StorageError

LOOK_SECONDS = 30.0
"""Between two looks at the folders."""

_LOG = logging.getLogger(__name__)
_BY = "folder"


class Inbox:
    """Imports what lies in `bundles.import.dir`, each bundle once for as long as it stays as it is."""

    def __init__(self, bundles: Bundles, *, who: str) -> None:
        self._bundles = bundles
        self._leased = Leased(
            lambda: bundles.registry, "bundle-inbox", "importing from the folder for bundles", who=who
        )
        # What was judged, and how it lay there: it is not judged again before it changes.
        self._judged: dict[Path, object] = {}

    async def if_due(self) -> None:
        """Import what is new in the folder, unless another process does."""
        await self._leased.when_due(self._any, self._import)

    async def _any(self) -> bool:
        return bool(await self._new())

    async def _new(self) -> list[Path]:
        folder = imports(self._bundles.settings).dir
        if folder is None:
            return []
        found = await self._bundles.registry.store.effects.aside(_candidates, folder)
        return [path for path, looks in found if self._judged.get(path) != looks]

    async def _import(self, step: Callable[[], Awaitable[None]]) -> None:
        aside = self._bundles.registry.store.effects.aside
        for path in await self._new():
            try:
                looks = await aside(_looks, path)
                with told_if_full(path.name):
                    if not await self._was_taken(path):
                        await self._tell(path, await self._one(path, step))
            except (StorageError, OutOfSpace) as error:
                # That is none of the bundle's fault: it is tried again.
                event(_LOG, logging.WARNING, "bundle.unfinished", path=str(path), reason=str(error))
                await aside(self._report, path, ".refused.txt", f"{error}\n")
                continue
            except (RegistryError, OSError) as error:
                event(_LOG, logging.WARNING, "bundle.refused", path=str(path), reason=str(error))
                await aside(self._report, path, ".refused.txt", f"{error}\n")
                looks = await aside(_looks_at_all, path)
            self._judged[path] = looks

    async def _was_taken(self, path: Path) -> bool:
        """Whether the bundle at a path was accepted before, and that told: by a process that has ended."""
        with opened_files([path]) as files:
            opening = await self._bundles.registry.store.effects.aside(files.opening)
        bundle, received = Head.decode(opening.head).id, self._bundles.importing.received
        if await received.staged(bundle) is None or not self._is_told(path):
            return False
        decision = await received.decision(bundle)
        if decision is None:
            return bool(imports(self._bundles.settings).approvals)
        return decision.verb != "approve" or await received.done(bundle) is not None

    async def _one(self, path: Path, step: Callable[[], Awaitable[None]]) -> Judged:
        judged = None
        wish = Wish(_BY, note=f"found in {path.name}", as_before=True)
        async for one in self._bundles.take_in([path], self._bundles.rules(()), wish):
            await step()
            if isinstance(one, Judged):
                judged = one
        assert judged is not None
        if judged.is_staged:
            async for _ in self._bundles.finish(judged.head.id, _BY):
                await step()
        return judged

    async def _tell(self, path: Path, judged: Judged) -> None:
        aside = self._bundles.registry.store.effects.aside
        if judged.is_staged:
            event(_LOG, logging.INFO, "bundle.imported", path=str(path), bundle=judged.head.id)
            await aside(self._report, path, ".receipt.txt", receipt_of(judged.head, ""))
        else:
            lacks = f"media {judged.media}" if judged.media else f"{len(judged.missing)} blobs"
            event(_LOG, logging.WARNING, "bundle.incomplete", path=str(path), reason=f"it lacks {lacks}")
            if judged.missing:
                await aside(self._report, path, ".missing.txt", missing_text(judged))

    def _is_told(self, path: Path) -> bool:
        folder = imports(self._bundles.settings).receipts_dir
        return folder is None or (folder / f"{path.name}.receipt.txt").exists()

    def _report(self, path: Path, suffix: str, text: str) -> None:
        folder = imports(self._bundles.settings).receipts_dir
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The folder may lie on the disk that was brought, with links in it.
            put_anew(folder / f"{path.name}{suffix}", text.encode(errors="backslashreplace"))
            for other in {".receipt.txt", ".refused.txt", ".missing.txt"} - {suffix}:
                # What was said of it while it was still being copied.
                (folder / f"{path.name}{other}").unlink(missing_ok=True)
        except OSError as error:
            event(_LOG, logging.WARNING, "bundle.unreported", path=str(folder), reason=str(error))


class Outbox:
    """Writes the bundles of one stream to `bundles.export.dir`, no two in less than its interval."""

    def __init__(self, bundles: Bundles, stream: StreamSettings, *, who: str) -> None:
        self._bundles = bundles
        self._stream = stream
        self._leased = Leased(
            lambda: bundles.registry, f"bundle-outbox-{stream.name}", "writing a bundle", who=who
        )

    async def if_due(self) -> None:
        """Write a bundle if the last one is old enough and there is something new, unless another does."""
        await self._leased.when_due(self._is_due, self._write)

    async def _is_due(self) -> bool:
        last = await self._bundles.exporting.sent.last(self._stream.name)
        if not last:
            return True
        store = self._bundles.registry.store
        try:
            head = await store.driver.stat(layout.bundle_sent(self._stream.name, last, "head"))
        except NotFound:
            return True
        age = await self._bundles.now() - head.modified_at.timestamp()
        return is_due(timedelta(seconds=age), self._stream.interval)

    async def _write(self, step: Callable[[], Awaitable[None]]) -> None:
        bundles, folder = self._bundles, self._bundles.settings.export.dir
        assert folder is not None
        source = OwnSource(bundles.registry)
        try:
            selected = None
            async for one in bundles.select(source, self._stream, allow_sparse=False):
                await step()
                if isinstance(one, Selected):
                    selected = one
            assert selected is not None
            if await bundles.exporting.was_stated(self._stream.name, selected.statement):
                return
            belief = await bundles.exporting.believed(
                self._stream.name, selected.statement, one_way=self._stream.one_way
            )
            order = await bundles.order(
                self._stream.name, self._stream, selected, belief, bundles.settings.export.media or None
            )
            key = bundles.signing_key(None)
            async for written in bundles.write(
                order, source, lambda head: Place(path_for(folder, head)), key
            ):
                await step()
                if isinstance(written, Head):
                    event(_LOG, logging.INFO, "bundle.exported", bundle=written.id, stream=written.stream)
        except (RegistryError, StorageError) as error:
            event(_LOG, logging.WARNING, "bundle.unwritten", stream=self._stream.name, reason=str(error))


def _candidates(folder: Path) -> list[tuple[Path, object]]:
    """What may be a bundle in a folder, and how it looks; a name with a dot is still being written."""
    found: list[tuple[Path, object]] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        event(_LOG, logging.WARNING, "bundle.unreadable", path=str(folder), reason=str(error))
        return found
    for name in names:
        path = folder / name
        # What belongs to others, such as lost+found, is none.
        with suppress(PermissionError):
            if not name.startswith(".") and (path.is_dir() or path.suffix == ".tar"):
                looks = _looks(path)
                if looks is not None:
                    found.append((path, looks))
    return found


def _looks_at_all(path: Path) -> object:
    """How it lies there, if that can be seen."""
    try:
        return _looks(path)
    except OSError:
        return None


def _looks(path: Path) -> object:
    """How a bundle lies there: the sizes and times of its files; None for what is none."""
    if path.is_file():
        state = path.stat()
        return state.st_size, state.st_mtime_ns
    if not (path / HEAD).is_file() and not any(path.glob(f"medium-*/{HEAD}")):
        return None
    count = size = newest = 0
    for root, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                state = os.lstat(os.path.join(root, name))
                count, size, newest = count + 1, size + state.st_size, max(newest, state.st_mtime_ns)
    return count, size, newest
