"""The power fails between PATCH and PUT, and the client goes on: with what is left, or from the beginning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from registry.app.opening import open_scratch
from registry.core.registry import Registry, Repository
from registry.core.uploads import ChunkOutOfOrder
from registry.errors import BlobUnknown, BlobUploadUnknown, DigestInvalid
from registry.model.digests import Digest
from registry.model.ranges import ByteRange
from registry.upkeep.crash.acts import OLD
from registry.upkeep.crash.client import Client, Received
from registry.upkeep.crash.ledger import Ledger
from storage.files import Files
from storage.local import LocalDriver
from tests.durability.cuts import AFTER, Cut, RecordingFiles, cuts_during, different, reopened
from tests.durability.reader import Tree

pytestmark = pytest.mark.exhaustive

DATA = b"".join((b"first" * 20, b"second" * 15_000, b"third"))
DIGEST = Digest.of(DATA)
PLACES = [0, 100, 90_100, len(DATA)]  # where the pieces of an upload in pieces begin and end
EVERY, MANY = 10, 20


class Patches:
    """An upload of which only the closing PUT is missing."""

    def __init__(self, places: list[int]) -> None:
        self._places = places
        self.uuid = ""

    async def __call__(self, client: Client) -> None:
        repository = client.registry.repository(OLD, "tester")
        self.uuid = (await repository.begin_upload("sha256")).uuid
        for start, end in pairwise(self._places):
            await repository.append(self.uuid, Received(DATA[start:end]), None)


async def asking_first(repository: Repository, uuid: str) -> str:
    """What containerd, skopeo and others do: ask how far it got, and send the rest."""
    try:
        size = await repository.upload_size(uuid)
    except BlobUploadUnknown:
        return await from_the_beginning(repository)
    assert size in PLACES
    await repository.append(uuid, Received(DATA[size:]), ByteRange(size, len(DATA)) if DATA[size:] else None)
    await repository.finish_upload(uuid, DIGEST, Received(), None)
    return f"resumed at {size}"


async def closing_at_once(repository: Repository, uuid: str) -> str:
    """What docker does: it was told that all of it has come."""
    try:
        await repository.finish_upload(uuid, DIGEST, Received(), None)
    except (BlobUploadUnknown, DigestInvalid):
        with pytest.raises(BlobUnknown):
            await repository.blob(DIGEST, may_push=True)
        return await from_the_beginning(repository)
    return "closed"


async def sending_it_all_again(repository: Repository, uuid: str) -> str:
    """A PUT with all of the body: right for a session without pieces only."""
    try:
        await repository.finish_upload(uuid, DIGEST, Received(DATA), ByteRange(0, len(DATA)))
    except (BlobUploadUnknown, DigestInvalid):
        return await from_the_beginning(repository)
    except ChunkOutOfOrder:
        return await asking_first(repository, uuid)
    return "sent in the PUT"


async def from_the_beginning(repository: Repository) -> str:
    """A new session."""
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Received(DATA), None)
    await repository.finish_upload(uuid, DIGEST, Received(), None)
    return "begun again"


@asynccontextmanager
async def on_disk(root: Path, tree: Tree) -> AsyncIterator[Registry]:
    """The real driver on what is left, in a later boot."""
    for path, data in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    async with open_scratch(str(root), Files()) as registry:
        cast(LocalDriver, registry.store.beneath)._epoch = AFTER
        yield registry


IN_PIECES, AT_ONCE = PLACES, [0, len(DATA)]
Goes = Callable[[Repository, str], Awaitable[str]]
CASES: list[tuple[Goes, list[int], set[str]]] = [
    (asking_first, IN_PIECES, {"begun again", *(f"resumed at {place}" for place in PLACES)}),
    (asking_first, AT_ONCE, {"begun again", "resumed at 0", f"resumed at {len(DATA)}"}),
    (closing_at_once, IN_PIECES, {"begun again", "closed"}),
    (closing_at_once, AT_ONCE, {"begun again", "closed"}),
    (sending_it_all_again, IN_PIECES, {"begun again", "sent in the PUT", "resumed at 100"}),
    (sending_it_all_again, AT_ONCE, {"begun again", "sent in the PUT"}),
]


@pytest.mark.parametrize(("client", "places", "may_come"), CASES)
async def test_what_is_closed_is_whole(
    tmp_path: Path, client: Goes, places: list[int], may_come: set[str]
) -> None:
    patches = Patches(places)
    cuts, _ = await cuts_during(tmp_path / "root", patches)
    came = set()

    async def go_on(registry: Registry) -> None:
        repository = registry.repository(OLD, "tester")
        came.add(await client(repository, patches.uuid))
        async with repository.open_blob(DIGEST) as opened:
            assert b"".join([piece async for piece in opened.chunks()]) == DATA

    for number, (tree, _ledger) in enumerate(different(cuts)):
        await go_on(reopened(tree))
        if number % EVERY == 0:
            async with on_disk(tmp_path / str(number), tree) as registry:
                await go_on(registry)
    assert may_come <= came


async def cuts_of_a_boot_between(root: Path, tree: Tree, uuid: str) -> list[Cut]:
    """The cuts that may come while the client sends one more piece; what is unsound goes before."""
    root.mkdir()
    files = RecordingFiles(root, Ledger())
    files.lay(root, tree)
    async with open_scratch(str(root), files) as registry:
        cast(LocalDriver, registry.store.beneath)._epoch = "the boot between"
        files.begin()
        repository = registry.repository(OLD, "tester")
        with suppress(BlobUploadUnknown):
            size = await repository.upload_size(uuid)
            if size < len(DATA):
                end = next(place for place in PLACES if place > size)
                await repository.append(uuid, Received(DATA[size:end]), ByteRange(size, end))
        cuts = files.cuts()
    files.close_all()
    return cuts


@pytest.mark.parametrize("client", [asking_first, closing_at_once])
async def test_what_is_closed_is_whole_after_a_second_cut(tmp_path: Path, client: Goes) -> None:
    patches = Patches(IN_PIECES)
    cuts, _ = await cuts_during(tmp_path / "root", patches)
    came = set()
    for number, (first, _ledger) in enumerate(different(cuts)):
        if number % MANY == 0:
            between = await cuts_of_a_boot_between(tmp_path / str(number), first, patches.uuid)
            for tree, _ in different(between):
                repository = reopened(tree).repository(OLD, "tester")
                came.add(await client(repository, patches.uuid))
                async with repository.open_blob(DIGEST) as opened:
                    assert b"".join([piece async for piece in opened.chunks()]) == DATA
    whole = f"resumed at {len(DATA)}" if client is asking_first else "closed"
    assert {"begun again", whole} <= came
