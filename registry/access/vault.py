"""What the registry keeps secret in its store: small JSON documents, sealed, by kind and name.

A name is any text; in keys it is written in hexadecimal, so that nothing in it can reach another key.
Documents that change are numbered logs: each change claims the next number, so that of two changes at once
neither is lost.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from registry.access.seal import Seal, SealBroken, is_sealed
from registry.store import layout, parsing
from storage.contract import Driver, exists
from storage.errors import AlreadyExists, NotFound

Document = dict[str, Any]

_LIMIT = 256 << 10  # bytes of a document
_DIGITS = 20
# In each entry of a log: which changes it stands on, the latest last.
_LINEAGE = "lineage"
_REMEMBERED = 32
# What a registry keeps of itself from its first start on: where that is sealed, all is to be.
IDENTITY = ("registry", "identity")


class Vault:
    """The secrets of one store."""

    def __init__(self, driver: Driver, seal: Seal) -> None:
        self._driver = driver
        self._seal = seal
        self._may_be_sealed = not seal.has_key

    async def get(self, kind: str, name: str) -> Document | None:
        """A document that never changes; None where there is none."""
        return await self._read(_key(kind, name))

    async def put(self, kind: str, name: str, document: Document, *, durable: bool = True) -> None:
        """Put a document, over one that lies there. Raises SealBroken in a store that is sealed otherwise."""
        await self._require_fitting()
        key = _key(kind, name)
        await self._driver.put(key, self._closed(key, document), durable=durable)

    async def claim(self, kind: str, name: str, document: Document) -> bool:
        """Put a document where there is none; whether there was none.

        It gets a `nonce`, so that of several at once exactly one has claimed the name. Raises SealBroken in a
        store that is sealed otherwise.
        """
        await self._require_fitting()
        key = _key(kind, name)
        sealed = self._closed(key, {**document, "nonce": secrets.token_hex(8)})
        try:
            await self._driver.put(key, sealed, if_absent=True)
        except AlreadyExists:
            return False
        return True

    async def remove(self, kind: str, name: str) -> bool:
        """Remove a document or a whole log; whether there was any."""
        key = _key(kind, name)
        keys = [found async for found in self._driver.walk(key)]
        if await exists(self._driver, key):
            keys.append(key)
        await self._driver.delete(keys)
        return bool(keys)

    async def names(self, kind: str) -> list[str]:
        """The names of all documents of a kind, in the order of their bytes."""
        found = []
        for entry in await self._driver.children(layout.secret(kind)):
            try:
                found.append(bytes.fromhex(entry).decode())
            except (ValueError, UnicodeDecodeError):
                continue
        return found

    async def kinds(self, kind: str) -> list[str]:
        """The kinds `kind/…` that there are documents of, without what stands before the `/`."""
        return await self._driver.children(layout.secret(kind))

    async def latest(self, kind: str, name: str) -> Document | None:
        """What a log says now; None where there is none."""
        return _plain((await self._latest(kind, name))[1])

    async def numbers(self, kind: str, name: str) -> list[int]:
        """The numbers of a log's entries, in order."""
        entries = await self._driver.children(_key(kind, name))
        return [int(entry) for entry in entries if entry.isdecimal() and len(entry) == _DIGITS]

    async def entry(self, kind: str, name: str, number: int) -> Document | None:
        """One entry of a log; None when it has gone."""
        return _plain(await self._read(_entry(kind, name, number)))

    async def written_at(self, kind: str, name: str, number: int) -> float:
        """When an entry was written, by the store's own clock, in seconds. Raises storage NotFound."""
        return (await self._driver.stat(_entry(kind, name, number))).modified_at.timestamp()

    async def forget(self, kind: str, name: str, number: int) -> None:
        """Remove one entry of a log."""
        await self._driver.delete([_entry(kind, name, number)])

    async def logs(self, kind: str) -> AsyncIterator[tuple[str, Document]]:
        """All logs of a kind by name, with what each says now."""
        for name in await self.names(kind):
            document = await self.latest(kind, name)
            if document is not None:
                yield name, document

    async def revise(
        self, kind: str, name: str, change: Callable[[Document | None], Document], *, keep: int = 1
    ) -> Document:
        """Replace what a log says by what `change` makes of it, with the last `keep` entries kept.

        `change` may be called again when others change it at the same time; what it raises is raised, and
        SealBroken in a store that is sealed otherwise.
        """
        await self._require_fitting()
        mine = secrets.token_hex(8)
        while True:
            number, before = await self._latest(kind, name)
            lineage = [] if before is None else before.pop(_LINEAGE, [])
            document = change(before)
            key = _entry(kind, name, number + 1)
            entry = {**document, _LINEAGE: [*lineage, mine][-_REMEMBERED:]}
            try:
                await self._driver.put(key, self._closed(key, entry), if_absent=True)
            except AlreadyExists:
                continue
            # A number whose entry has been removed can be claimed again; then others do not stand on ours.
            last, latest = await self._latest(kind, name)
            if latest is not None and mine not in latest[_LINEAGE]:
                # Below what counts it would do no harm; and the next put syncs the same directory.
                await self._driver.delete([key], durable=False)
                continue
            numbers = await self.numbers(kind, name)
            old = [_entry(kind, name, one) for one in numbers if one <= last - keep]
            if old:
                await self._driver.delete(old)
            return document

    @property
    def seals(self) -> bool:
        """Whether there is a key to seal with."""
        return self._seal.has_key

    async def seal_all(self, *, dry_run: bool) -> AsyncIterator[tuple[str, str]]:
        """Seal what lies unsealed in the store; the kind and the name of each, or of each that would be."""
        async for key in self._driver.walk(layout.SECRET):
            with suppress(NotFound):
                stored = await self._driver.get(key, limit=_LIMIT)
                if is_sealed(stored):
                    continue
                if not dry_run:
                    await self._driver.put(key, self._seal.close(key, stored))
                yield parsing.secret_of(key)

    async def _latest(self, kind: str, name: str) -> tuple[int, Document | None]:
        numbers = await self.numbers(kind, name)
        while numbers:
            number = numbers[-1]
            entry = await self._read(_entry(kind, name, number))
            # Removed meanwhile, its number may have been claimed by a change that came too late.
            numbers = await self.numbers(kind, name)
            if entry is not None and numbers and numbers[-1] == number:
                return number, entry
        return 0, None

    async def _require_fitting(self) -> None:
        """Nothing is written open into a store whose secrets are sealed, as by a command without --config."""
        if self._may_be_sealed:
            await self.latest(*IDENTITY)
            self._may_be_sealed = False

    def _closed(self, key: str, document: Document) -> bytes:
        return self._seal.close(key, json.dumps(document, separators=(",", ":")).encode())

    async def _read(self, key: str) -> Document | None:
        try:
            stored = await self._driver.get(key, limit=_LIMIT)
        except NotFound:
            return None
        try:
            document = json.loads(self._seal.open(key, stored))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise SealBroken(f"{key} in the store holds no document; restore it from a backup, or remove it")
        return document


def _plain(entry: Document | None) -> Document | None:
    if entry is not None:
        entry.pop(_LINEAGE, None)
    return entry


def _key(kind: str, name: str) -> str:
    return layout.secret(kind, name.encode().hex())


def _entry(kind: str, name: str, number: int) -> str:
    return f"{_key(kind, name)}/{number:0{_DIGITS}d}"
