from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import BlobUploadUnknown
from registry.model.digests import Digest, Hashing
from registry.model.names import RepositoryName
from registry.store import layout
from registry.store.sessions import Chunk, Commit, Session, Sessions
from storage.local import LocalDriver
from tests.inmemory import NAME, Bytes, World

PIECES = [b"first piece", b"second", b"the third piece"]


@pytest.fixture
def world() -> World:
    return World()


async def add(world: World, session: Session, offset: int, data: bytes) -> Chunk:
    """Write a chunk and commit it."""
    check = Hashing("sha256")
    key, size = await world.store.sessions.write(session, Bytes(data).__aiter__(), check)
    chunk = Chunk(offset, size, key, (check.digest("sha256"),), world.driver.epoch)
    assert await world.store.sessions.commit_chunk(session, chunk)
    return chunk


async def filled(world: World) -> tuple[Session, list[Chunk]]:
    """A session with all pieces."""
    session = await world.store.sessions.create(NAME, "sha256")
    chunks: list[Chunk] = []
    for piece in PIECES:
        chunks.append(await add(world, session, chunks[-1].end if chunks else 0, piece))
    return session, chunks


async def tear(world: World, chunk: Chunk, data: bytes) -> None:
    """What a power cut leaves of a chunk whose record survived."""
    await world.driver.put(chunk.key, data)


async def test_a_session_is_known_in_its_own_repository_only(world: World) -> None:
    session = await world.store.sessions.create(NAME, "sha512")
    assert await world.store.sessions.get(NAME, session.uuid) == session
    with pytest.raises(BlobUploadUnknown):
        await world.store.sessions.get(RepositoryName("team/other"), session.uuid)


@pytest.mark.parametrize("record", [b"", b"\0" * 100, b"[]", b"{}", b'{"repository":"A/","algorithm":"x"}'])
async def test_a_session_whose_record_was_torn_is_unknown(world: World, record: bytes) -> None:
    session = await world.store.sessions.create(NAME, "sha256")
    await world.driver.put(f"{layout.upload(session.uuid)}/session", record)
    with pytest.raises(BlobUploadUnknown):
        await world.store.sessions.get(NAME, session.uuid)


async def test_chunks_of_this_boot_are_believed_unread(world: World) -> None:
    session, chunks = await filled(world)
    world.counted.calls.clear()
    assert await world.store.sessions.chunks(session) == chunks
    assert world.counted.calls["open"] == 0
    assert await world.store.sessions.last(session) == (3, chunks[-1])


async def test_of_two_writers_at_one_offset_one_wins(world: World) -> None:
    session = await world.store.sessions.create(NAME, "sha256")
    winner = await add(world, session, 0, b"one")
    check = Hashing("sha256")
    key, size = await world.store.sessions.write(session, Bytes(b"two").__aiter__(), check)
    loser = Chunk(0, size, key, (check.digest("sha256"),), world.driver.epoch)
    assert not await world.store.sessions.commit_chunk(session, loser)
    assert await world.store.sessions.chunks(session) == [winner]


async def test_sound_chunks_of_an_earlier_boot_are_hashed_once_and_kept(world: World) -> None:
    session, chunks = await filled(world)
    world.counted.epoch = "another boot"
    kept = await world.store.sessions.chunks(session)
    assert [chunk.key for chunk in kept] == [chunk.key for chunk in chunks]
    assert all(world.store.sessions.is_current(chunk) for chunk in kept)
    world.counted.calls.clear()
    assert await world.store.sessions.chunks(session) == kept
    assert world.counted.calls["open"] == 0


@pytest.mark.parametrize("torn", [0, 1, 2])
@pytest.mark.parametrize("how", ["shorter", "zeroed", "gone"])
async def test_a_torn_chunk_of_an_earlier_boot_goes_with_all_behind_it(
    world: World, torn: int, how: str
) -> None:
    session, chunks = await filled(world)
    if how == "gone":
        await world.driver.delete([chunks[torn].key])
    else:
        whole = PIECES[torn]
        await tear(world, chunks[torn], whole[:-1] if how == "shorter" else b"\0" * len(whole))
    world.counted.epoch = "another boot"

    kept = await world.store.sessions.chunks(session)
    assert [chunk.key for chunk in kept] == [chunk.key for chunk in chunks[:torn]]
    left = await world.keys(layout.upload(session.uuid))
    records = [layout.upload_chunk(session.uuid, chunk.offset) for chunk in kept]
    assert set(left) == {f"{layout.upload(session.uuid)}/session", *records, *(one.key for one in kept)}

    # The same offset can be written again, and what is written then counts.
    again = await add(world, session, chunks[torn].offset, PIECES[torn])
    assert (await world.store.sessions.chunks(session))[-1] == again


async def test_an_unknown_epoch_is_never_believed(world: World) -> None:
    world.counted.epoch = None
    session, chunks = await filled(world)
    await tear(world, chunks[1], b"\0" * len(PIECES[1]))
    assert [chunk.key for chunk in await world.store.sessions.chunks(session)] == [chunks[0].key]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\0" * 200,
        b"[]",
        b"{}",
        b'{"data":"x","size":1,"digests":["sha256:0"],"epoch":"memory"}',
        b'{"data":"x","size":1,"digests":[],"epoch":"an older boot"}',
    ],
)
async def test_a_torn_record_ends_the_upload_before_it(world: World, record: bytes) -> None:
    session, chunks = await filled(world)
    await world.driver.put(layout.upload_chunk(session.uuid, chunks[1].offset), record)
    assert await world.store.sessions.chunks(session) == chunks[:1]


async def test_a_gap_ends_the_upload(world: World) -> None:
    session, chunks = await filled(world)
    await world.driver.delete([layout.upload_chunk(session.uuid, chunks[1].offset)])
    assert await world.store.sessions.chunks(session) == chunks[:1]


async def test_a_commit_is_read_back_and_a_torn_one_is_none(world: World) -> None:
    session = await world.store.sessions.create(NAME, "sha256")
    assert await world.store.sessions.commit(session) is None
    commit = Commit(Digest.of(b"x"), 1, "an epoch")
    await world.store.sessions.put_commit(session, commit)
    assert await world.store.sessions.commit(session) == commit
    for torn in (b"", b"\0" * 50, b"{}", b"[]", b'{"digest":"sha256:1","size":1}'):
        await world.driver.put(f"{layout.upload(session.uuid)}/commit", torn)
        assert await world.store.sessions.commit(session) is None


async def test_dropping_leaves_nothing(world: World) -> None:
    session, _ = await filled(world)
    other, _ = await filled(world)
    await world.store.sessions.drop(session.uuid)
    await world.store.sessions.drop(session.uuid)
    assert await world.keys(layout.upload(session.uuid)) == []
    assert await world.store.sessions.uuids(limit=10) == [other.uuid]


async def test_the_newest_write_counts_for_the_age(world: World) -> None:
    session, _ = await filled(world)
    world.clock.advance(hours=5)
    size = sum(map(len, PIECES))
    await add(world, session, size, b"late")
    assert await world.store.sessions.newest(session.uuid) == world.clock.now.timestamp()
    assert await world.store.sessions.newest("gone") is None


async def test_a_dropped_session_leaves_no_directory(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path)
    await driver.start()
    sessions = Sessions(driver, World().store.effects)
    session = await sessions.create(NAME, "sha256")
    check = Hashing("sha256")
    key, size = await sessions.write(session, Bytes(b"piece").__aiter__(), check)
    assert await sessions.commit_chunk(session, Chunk(0, size, key, (check.digest("sha256"),), driver.epoch))
    await sessions.put_commit(session, Commit(check.digest("sha256"), size, driver.epoch))
    await sessions.renew(session)
    assert (tmp_path / key).is_file()
    await sessions.drop(session.uuid)
    assert not (tmp_path / layout.UPLOADS).exists()
    await driver.aclose()
