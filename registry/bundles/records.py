"""What a registry remembers of bundles: those it wrote, inventories it gave out, and those that came.

Nothing here is ever changed: what happens to a bundle is a further object beside it, and where only one of
two may win (a number, a decision), the object is put only where there is none.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass

from registry.bundles.errors import BundleUnknown
from registry.bundles.format import HEAD_BYTES, Head
from registry.bundles.receipts import code_of
from registry.bundles.statement import LINE_BYTES, Statement, StatementReader
from registry.store import layout
from registry.store.store import Store
from storage.contract import Driver, exists
from storage.errors import AlreadyExists, NotFound

_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """A bundle that was written here, by which key it was signed then, and what has become of it."""

    head: Head
    signed_by: str
    written: bool
    acknowledged: bool
    forgotten: bool

    @property
    def is_open(self) -> bool:
        """Whether what it states may still be asked for once more."""
        return not (self.acknowledged or self.forgotten)


class SentBundles:
    """The bundles that a store's registry has written."""

    def __init__(self, store: Store) -> None:
        self._driver = store.driver
        self._effects = store.effects

    async def claim(self, head: Head, statement: Statement) -> bool:
        """Give the bundle its number; False when another one of the stream has it."""
        await self._driver.write(layout.bundle_contents(head.id), chunked(statement.lines()))
        # Before it has its number: one that has it can be written at any time.
        await self.note_code(code_of(head), head)
        try:
            await self._driver.put(
                layout.bundle_sent(head.stream, head.number, "head"), head.encode(), if_absent=True
            )
        except AlreadyExists:
            return False
        return True

    async def note(self, head: Head, part: str, key: str = "") -> None:
        """Note what has become of one: `written` (and signed by a key), `acknowledged` or `forgotten`."""
        await self._driver.put(layout.bundle_sent(head.stream, head.number, part), key.encode())

    async def note_code(self, code: str, head: Head) -> None:
        """Note by which code a receipt tells that a bundle has arrived: its own, or that of a supplement."""
        content = json.dumps([head.stream, head.number, head.id]).encode()
        await self._driver.put(layout.bundle_code(code), content)

    async def arrived(self, code: str) -> Sent | None:
        """The bundle that has arrived by a receipt with this code; None where there is none."""
        with suppress(NotFound):
            told = json.loads(await self._driver.get(layout.bundle_code(code), limit=_SMALL))
            stream, number, bundle = told
            one = await self.get(stream, number)
            if one is not None and one.head.id == bundle:
                return one
        return None

    async def streams(self) -> list[str]:
        """The streams of which a bundle was written."""
        return await self._driver.children(layout.BUNDLES_SENT)

    async def last(self, stream: str) -> int:
        """The highest number that was given; 0 where none was."""
        last, _ = await self._current(stream)
        return max([last, *await self._numbers(stream, last)])

    async def current(self, stream: str) -> AsyncIterator[Sent]:
        """Those of a stream that were not let go, the last one first: all others state nothing any more."""
        last, kept = await self._current(stream)
        for number in reversed([*kept, *await self._numbers(stream, last)]):
            if (sent := await self.get(stream, number)) is not None:
                yield sent

    async def keep(self, stream: str, last: int, kept: Iterable[int]) -> None:
        """Note which are current of those up to the `last` that was looked at."""
        folder = layout.bundles_current(stream)
        before = await self._driver.children(folder)
        key = f"{folder}/{last:020d}-{self._effects.unique()}"
        await self._driver.put(key, json.dumps(sorted(kept)).encode())
        # One that a power cut brings back only has more looked at.
        await self._driver.delete([f"{folder}/{one}" for one in before], durable=False)

    async def _current(self, stream: str) -> tuple[int, list[int]]:
        folder = layout.bundles_current(stream)
        for name in reversed(await self._driver.children(folder)):
            with suppress(NotFound):
                kept = json.loads(await self._driver.get(f"{folder}/{name}", limit=_SMALL))
                return int(name.partition("-")[0]), kept
        return 0, []

    async def _numbers(self, stream: str, after: int = 0) -> list[int]:
        names = await self._driver.children(layout.bundles_sent(stream), after=f"{after:020d}")
        return [int(one) for one in names if one.isdigit()]

    async def get(self, stream: str, number: int) -> Sent | None:
        """One of them; None where there is none."""
        head = await read_head(self._driver, layout.bundle_sent(stream, number, "head"))
        if head is None:
            return None
        acknowledged, forgotten = [
            await exists(self._driver, layout.bundle_sent(stream, number, part))
            for part in ("acknowledged", "forgotten")
        ]
        key = None
        with suppress(NotFound):
            key = await self._driver.get(layout.bundle_sent(stream, number, "written"), limit=_SMALL)
        return Sent(head, (key or b"").decode(), key is not None, acknowledged, forgotten)

    async def each(self) -> AsyncIterator[Sent]:
        """All of them, the last one of each stream first."""
        for stream in await self.streams():
            for number in reversed(await self._numbers(stream)):
                if (sent := await self.get(stream, number)) is not None:
                    yield sent

    async def find(self, bundle: str) -> Sent:
        """The one of that id. Raises BundleUnknown."""
        async for one in self.each():
            if one.head.id == bundle:
                return one
        raise BundleUnknown(
            f"no bundle {bundle} was written here; `moorage bundle list` shows them. A supplement is not"
            " among them: `moorage bundle export STREAM --missing FILE` with the same list writes it again"
        )


async def read_head(driver: Driver, key: str) -> Head | None:
    """The head of a bundle under a key; None where there is none."""
    with suppress(NotFound):
        return Head.decode(await driver.get(key, limit=HEAD_BYTES))
    return None


async def read_contents(store: Store, head: Head, *, received: bool = False) -> Statement:
    """What a bundle states that was written here, or was received. Raises storage NotFound."""
    reader = StatementReader(head.media)
    key = layout.bundle_received(head.id, "contents") if received else layout.bundle_contents(head.id)
    async with store.driver.open(key) as opened:
        async for lines in lines_of(opened.chunks()):
            await store.effects.aside(reader.lines, lines)
    return reader.statement


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The lines of a text as it comes, some at a time, each with its newline."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            lines, rest = [*lines, rest], b""
        if lines:
            yield lines
        if len(rest) > LINE_BYTES:
            # Whoever reads refuses it by its length; what follows of it is not gathered.
            yield [rest]
            rest = b""
    if rest:
        yield [rest]


async def chunked(lines: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Lines as chunks of about a mebibyte."""
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) > _SMALL:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
