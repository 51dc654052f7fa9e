"""The files of a bundle as they arrive: each seen to be what it must be before anything is made of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence

from registry.bundles.contents import Digests, Key
from registry.bundles.errors import BundleInvalid, unsound
from registry.bundles.format import CONTENTS, DESCRIBED, HEAD, INDEX, LAYOUT, README, SUMS, FileSum, Head
from registry.bundles.media import AT_ONCE, FILE, SMALL, File, file_of, files, files_of
from registry.bundles.reading import Entry, Files, Opening
from registry.bundles.received import Received
from registry.bundles.records import chunked, lines_of, read_contents
from registry.bundles.statement import Statement, StatementReader, digest_of
from registry.bundles.texts import index_json, layout_json, sum_of
from registry.errors import DigestInvalid
from registry.model.digests import Digest, DigestCheck
from registry.store import layout
from registry.store.effects import Effects
from registry.store.store import Store
from storage.errors import NotFound

_AGAIN = "copy it once more from where it was made"
_ALTERED = "its bytes are not those that the bundle was written with"
_SUM = re.compile(r"([0-9a-f]{64})  ([\x21-\x7e]+)")


class Arriving:
    """One bundle that arrives at a store; `absent` is what of it the import wants to be taken."""

    def __init__(self, store: Store, effects: Effects, arriving: Files, head: Head, opening: Opening) -> None:
        self._store = store
        self._received = Received(store)
        self._effects = effects
        self._files = arriving
        self._head = head
        self._sums = {HEAD: hashlib.sha256(opening.head).hexdigest()}
        self._entries = arriving.entries(self._is_wanted)
        self._held: Entry | None = None
        self.statement = Statement()
        self.absent = Digests()
        self.unread = 0  # files whose content is here, so that nobody looks at their bytes
        self._taken = bytearray()

    async def read_statement(self) -> None:
        """Read what is stated. Raises BundleInvalid."""
        if not self._files.comes_once and self._files.size(CONTENTS) is None:
            self.statement = await self._stated_before()
        else:
            self.statement = await self._read()
        # In a server others are served meanwhile, and what is stated may be a hundred thousand images.
        await self._effects.aside(self._require_fitting)

    async def media_to_come(self) -> list[int]:
        """The media whose files are still to be given. Raises BundleInvalid where there is no other."""
        if self._files.comes_once:
            return []
        not_here = await self._effects.aside(self._not_here)
        lacking = [file for file in not_here if not await self._has_piece(file)]
        if lacking and self._head.media == 1:
            raise unsound(lacking[0].name, "it is not there", _AGAIN)
        return sorted({file.medium for file in lacking})

    def bytes_to_come(self) -> int:
        """How many bytes of the bundle are wanted. It takes long."""
        return sum(one.size for key, one in self.statement.carried if key in self.absent)

    async def keep(self) -> AsyncIterator[int]:
        """Keep the data of all that is not here; the bytes of each file. Raises BundleInvalid."""
        self._taken = bytearray(len(self.absent))
        contents = layout.bundle_received(self._head.id, "contents")
        await self._store.driver.write(contents, chunked(self.statement.lines()))
        while (arrived := await self._effects.aside(self._next)) is not None:
            if isinstance(arrived, list):
                yield await self._files_at_once(arrived)
                continue
            entry = arrived
            if entry.name in DESCRIBED:
                await self._described(entry, self._head.files[entry.name])
            elif entry.name == SUMS:
                self._sums[SUMS] = ""
                async for lines in lines_of(self._chunks(entry)):
                    self._require_sums(lines)
            elif (file := file_of(self.statement, entry.name)) is not None:
                self._require_size(entry, file.size)
                await self._file(file, self._chunks(entry))
                yield file.size
        if self._files.comes_once and (missing := {*DESCRIBED, SUMS} - self._sums.keys()):
            raise unsound(min(missing), "it did not come", _AGAIN)
        await self._join()
        # Not what lies in the store, but what has come: the rest may be somebody else's.
        self.absent = Digests(key for key, taken in zip(self.absent, self._taken, strict=True) if not taken)

    def first_absent(self) -> str:
        """The name of a file that did not come."""
        return next(file.name for file in files(self.statement) if file.key in self.absent)

    def _require_fitting(self) -> None:
        """See that what is made of the statement is what the head says. It takes long."""
        if self.statement.totals != self._head.totals:
            raise unsound(HEAD, f"its totals are not those of {CONTENTS}", "have the bundle written again")
        for name, content in ((LAYOUT, [layout_json()]), (INDEX, index_json(self.statement))):
            if self._head.files[name] != sum_of(content):
                raise unsound(name, "it is not what it must be beside what is stated", _AGAIN)

    def _not_here(self) -> list[File]:
        """The files that are wanted and lie in none of the folders. It blocks."""
        lacking = []
        for file in files(self.statement):
            size = self._files.size(file.name)
            if size is not None and size != file.size:
                raise unsound(file.name, f"it has {size} bytes, and should have {file.size}", _AGAIN)
            if size is None and file.key in self.absent:
                lacking.append(file)
        return lacking

    def _is_wanted(self, name: str) -> bool:
        if FILE.fullmatch(name) is None:
            return True
        if CONTENTS not in self._sums and self._files.comes_once:
            raise unsound(CONTENTS, f"it does not come before {name}", _AGAIN)
        file = file_of(self.statement, name)
        if file is None:
            raise unsound(name, "the bundle has no such file", "take it away, or copy the bundle once more")
        is_wanted = file.key in self.absent
        self.unread += not is_wanted
        return is_wanted

    async def _read(self) -> Statement:
        for name in () if self._files.comes_once else DESCRIBED:
            if self._files.size(name) is None:
                raise unsound(name, "it is not there", _AGAIN)
        while (entry := await self._effects.aside(next, self._entries, None)) is not None:
            told = self._head.files.get(entry.name)
            if told is None:
                raise unsound(entry.name, f"it comes before {CONTENTS}", "this was not written by Moorage")
            if entry.name == CONTENTS:
                if missing := [name for name in (README, LAYOUT) if name not in self._sums]:
                    raise unsound(missing[0], f"it does not come before {CONTENTS}", _AGAIN)
                return await self._contents(entry, told)
            await self._described(entry, told)
        raise unsound(CONTENTS, "it is not there", _AGAIN)

    async def _described(self, entry: Entry, told: FileSum) -> None:
        """See that a small file is what the head says."""
        self._require_size(entry, told.size)
        hasher = hashlib.sha256()
        async for chunk in self._chunks(entry):
            hasher.update(chunk)
        if hasher.hexdigest() != told.sha256:
            raise unsound(entry.name, _ALTERED, _AGAIN)
        self._sums[entry.name] = told.sha256

    def _require_size(self, entry: Entry, size: int) -> None:
        if entry.size != size:
            raise unsound(entry.name, f"it has {entry.size} bytes, and should have {size}", _AGAIN)

    async def _stated_before(self) -> Statement:
        """What a bundle states of which another medium has come already."""
        try:
            return await read_contents(self._store, self._head, received=True)
        except NotFound:
            raise unsound(
                CONTENTS, "it is not in this folder", "import the folder of the first medium before this one"
            ) from None

    async def _contents(self, entry: Entry, told: FileSum) -> Statement:
        self._require_size(entry, told.size)
        self._sums[entry.name] = told.sha256
        reader, hasher = StatementReader(self._head.media), hashlib.sha256()

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in self._chunks(entry):
                hasher.update(chunk)
                yield chunk

        wrong: BundleInvalid | None = None
        async for lines in lines_of(chunks()):
            if wrong is None:
                try:
                    await self._effects.aside(reader.lines, lines)
                except BundleInvalid as error:
                    wrong = error
        if hasher.hexdigest() != told.sha256:
            # Where it was altered, that is what to say.
            raise unsound(CONTENTS, _ALTERED, _AGAIN)
        if wrong is not None:
            raise wrong
        return reader.statement

    async def _chunks(self, entry: Entry) -> AsyncIterator[bytes]:
        left = entry.size
        while left:
            chunk = await self._effects.aside(next, entry.chunks)
            left -= len(chunk)
            yield chunk

    async def _has_piece(self, file: File) -> bool:
        _, _, number = file.name.rpartition(".")
        key = layout.bundle_received(self._head.id, "pieces", digest_of(file.key).encoded, number)
        try:
            return file.is_piece and (await self._store.driver.stat(key)).size_bytes == file.size
        except NotFound:
            return False

    def _next(self) -> Entry | list[tuple[File, bytes]] | None:
        """The next file, or the next small ones with what is in them; None at the end. It blocks."""
        small: list[tuple[File, bytes]] = []
        while (entry := self._held or next(self._entries, None)) is not None:
            self._held = None
            file = file_of(self.statement, entry.name)
            if file is None or file.size > SMALL or file.is_piece:
                if small:
                    # The next call begins with it.
                    self._held = entry
                    return small
                return entry
            self._require_size(entry, file.size)
            content = b"".join(entry.chunks)
            digest = digest_of(file.key)
            if Digest.of(content, digest.algorithm) != digest:
                raise unsound(file.name, _ALTERED, _AGAIN)
            small.append((file, content))
            if len(small) == AT_ONCE:
                break
        return small or None

    async def _files_at_once(self, some: Sequence[tuple[File, bytes]]) -> int:
        """Keep small files together, which a store far away takes as long for as for one; their bytes."""
        put = self._store.content.put
        await self._effects.together(put(digest_of(file.key), content) for file, content in some)
        await self._keep([file.key for file, _ in some])
        return sum(file.size for file, _ in some)

    async def _file(self, file: File, chunks: AsyncIterator[bytes]) -> None:
        digest = digest_of(file.key)
        try:
            if file.is_piece:
                _, _, number = file.name.rpartition(".")
                piece = layout.bundle_received(self._head.id, "pieces", digest.encoded, number)
                await self._store.driver.write(piece, chunks, durable=False)
            else:
                await self._store.content.write(digest, chunks, DigestCheck(digest))
                await self._keep([file.key])
        except DigestInvalid:
            raise unsound(file.name, _ALTERED, _AGAIN) from None

    async def _keep(self, keys: Sequence[Key]) -> None:
        """Note that the data of something came in this bundle."""
        for key in keys:
            if (place := self.absent.place(key)) is not None:
                self._taken[place] = True
        await self._received.keep(self._head.id, map(digest_of, keys))

    async def _join(self) -> None:
        """Join the pieces of what has all of them here."""
        for key, content in self.statement.carried:
            if key not in self.absent or len(content.pieces) < 2:
                continue
            digest = digest_of(key)
            folder = layout.bundle_received(self._head.id, "pieces", digest.encoded)
            # As numbers: 1000 stands behind 999.
            numbers = sorted(await self._store.driver.children(folder), key=int)
            keys = [f"{folder}/{one}" for one in numbers]
            if len(keys) < len(content.pieces):
                continue
            if await self._store.content.hash(keys, digest.algorithm) != digest:
                await self._store.driver.delete(keys, durable=False)
                name = next(files_of(key, content)).name
                raise unsound(
                    name,
                    "it and the other pieces together are not what the bundle was written with",
                    f"{_AGAIN}, each medium on which a piece of it lies",
                )
            await self._store.content.compose(digest, keys, size=content.size)
            await self._keep([key])

    def _require_sums(self, lines: Iterable[bytes]) -> None:
        """See that SHA256SUMS says what is so, as far as that is known without reading again."""
        for line in lines:
            found = _SUM.fullmatch(line.decode("ascii", "replace").rstrip("\n"))
            if found is None:
                raise unsound(SUMS, "a line of it is no sum", _AGAIN)
            told, name = found.groups()
            file = file_of(self.statement, name)
            known = self._sums.get(name, told if name in DESCRIBED else None)
            if file is not None:
                is_known = len(file.key) == 32 and name.endswith(file.key.hex())
                known = file.key.hex() if is_known else told
            if known != told:
                raise unsound(SUMS, f"what it says of {name} is not so", _AGAIN)
