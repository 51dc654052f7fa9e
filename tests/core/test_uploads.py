from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from registry.core.uploads import ChunkOutOfOrder, UploadLimits
from registry.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ReadOnly,
    RegistryError,
    SizeInvalid,
    TooManyRequests,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.ranges import ByteRange
from registry.store import layout
from registry.store.sessions import Commit, Session
from registry.upkeep.expiry import expire
from tests.inmemory import NAME, Bytes, World
from tests.interleaving import run
from tests.soak import rounds

OTHER = RepositoryName("team/other")
DATA = st.binary(max_size=6)
CHUNKS = 2


class Uploads(RuleBasedStateMachine):
    """Any number of uploads at once, by two processes, beside a model that knows only bytes."""

    sessions: Bundle[str] = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, bytes] = {}
        self.pieces: dict[str, int] = {}
        self.held: dict[Digest, bytes] = {}

    @initialize()
    def start(self) -> None:
        self.world = World(chunks=CHUNKS)
        self.processes = [self.world.registry, self.world.process()]

    @rule(target=sessions, at=st.integers(0, 1), algorithm=st.sampled_from(["sha256", "sha512"]))
    def begin(self, at: int, algorithm: str) -> str:
        uuid = run(self.processes[at].repository(NAME, "t").begin_upload(algorithm)).uuid
        self.open[uuid], self.pieces[uuid] = b"", 0
        return uuid

    @rule(
        at=st.integers(0, 1),
        uuid=sessions,
        data=DATA,
        skew=st.sampled_from([None, None, 0, 0, -1, 1]),
        told=st.booleans(),
    )
    def append(self, at: int, uuid: str, data: bytes, skew: int | None, told: bool) -> None:
        have = self.open.get(uuid)
        start = max(len(have or b"") + (skew or 0), 0)
        piece = None if skew is None else ByteRange(start, start + len(data))
        answer = self.ask(at, "append", uuid, Bytes(data, length=len(data) if told else None), piece)
        if have is None:
            assert isinstance(answer, BlobUploadUnknown)
        elif piece is not None and piece.start != len(have):
            assert isinstance(answer, ChunkOutOfOrder)
            assert answer.size_bytes == len(have)
        elif (data or not told) and self.pieces[uuid] >= CHUNKS:
            assert isinstance(answer, BlobUploadInvalid)
        else:
            self.grow(uuid, data)
            assert answer == len(self.open[uuid])

    @rule(at=st.integers(0, 1), uuid=sessions, data=st.binary(min_size=1, max_size=6), lie=st.booleans())
    def lie_about_the_length(self, at: int, uuid: str, data: bytes, lie: bool) -> None:
        have = self.open.get(uuid)
        start = len(have or b"")
        end = start + len(data) + 1 if lie else start + len(data) - 1
        length = None if lie else len(data)
        answer = self.ask(at, "append", uuid, Bytes(data, length=length), ByteRange(start, end))
        expected: tuple[type[RegistryError], ...] = (SizeInvalid,)
        if have is None:
            expected = (BlobUploadUnknown,)
        elif self.pieces[uuid] >= CHUNKS:
            expected = (SizeInvalid, BlobUploadInvalid)
        assert isinstance(answer, expected)

    @rule(
        at=st.integers(0, 1),
        uuid=sessions,
        data=DATA,
        right=st.booleans(),
        algorithm=st.sampled_from(["sha256", "sha512"]),
    )
    def finish(self, at: int, uuid: str, data: bytes, right: bool, algorithm: str) -> None:
        have = self.open.get(uuid)
        whole = (have or b"") + data
        digest = Digest.of(whole if right else whole + b"!", algorithm)
        answer = self.ask(at, "finish_upload", uuid, digest, Bytes(data), None)
        if have is None:
            # A closing PUT that is repeated succeeds as long as the repository has the blob.
            assert (answer is None) == (digest in self.held)
            assert answer is None or isinstance(answer, BlobUploadUnknown)
        elif data and self.pieces[uuid] > CHUNKS:
            assert isinstance(answer, BlobUploadInvalid)
        elif right:
            assert answer is None
            del self.open[uuid]
            self.held[digest] = whole
        else:
            assert isinstance(answer, DigestInvalid)
            if self.pieces[uuid]:
                # What came after earlier pieces is one of them now; a whole body of its own is not.
                self.grow(uuid, data)

    @rule(at=st.integers(0, 1), uuid=sessions)
    def cancel(self, at: int, uuid: str) -> None:
        answer = self.ask(at, "cancel_upload", uuid)
        assert isinstance(answer, BlobUploadUnknown) == (self.open.pop(uuid, None) is None)

    @rule(at=st.integers(0, 1), uuid=sessions)
    def look(self, at: int, uuid: str) -> None:
        answer = self.ask(at, "upload_size", uuid)
        if uuid in self.open:
            assert answer == len(self.open[uuid])
        else:
            assert isinstance(answer, BlobUploadUnknown)

    @rule(at=st.integers(0, 1), uuid=sessions)
    def look_from_another_repository(self, at: int, uuid: str) -> None:
        with pytest.raises(BlobUploadUnknown):
            run(self.processes[at].repository(OTHER, "t").upload_size(uuid))

    @rule(at=st.integers(0, 1), data=DATA, right=st.booleans())
    def push_whole(self, at: int, data: bytes, right: bool) -> None:
        digest = Digest.of(data if right else data + b"!")
        try:
            run(self.processes[at].repository(NAME, "t").push_blob(digest, Bytes(data)))
        except DigestInvalid:
            assert not right
        else:
            assert right
            self.held[digest] = data

    @rule()
    def lose_power(self) -> None:
        # Everything was written out all the same: sessions must be found sound by reading them.
        self.world.counted.epoch = f"{self.world.counted.epoch}+"

    @invariant()
    def only_what_was_proved_is_visible(self) -> None:
        found = {digest: run(self.read(digest)) for digest in self.held}
        assert found == self.held
        data = {layout.blob_data(digest) for digest in self.held}
        assert set(run(self.world.keys(layout.BLOBS))) == data

    @invariant()
    def nothing_is_left_of_what_ended(self) -> None:
        uuids = run(self.world.store.sessions.uuids(limit=1000))
        assert set(uuids) == set(self.open)
        pieces = [key for key in run(self.world.keys(layout.UPLOADS)) if f"/{layout.DATA}" in key]
        assert len(pieces) == sum(self.pieces[uuid] for uuid in self.open)

    def ask(self, at: int, method: str, *arguments: Any) -> Any:
        """What a process answers, or the error that it raises."""
        try:
            return run(getattr(self.processes[at].repository(NAME, "t"), method)(*arguments))
        except RegistryError as error:
            return error

    def grow(self, uuid: str, data: bytes) -> None:
        self.open[uuid] += data
        self.pieces[uuid] += bool(data)

    async def read(self, digest: Digest) -> bytes:
        async with self.world.repository().open_blob(digest) as opened:
            return b"".join([piece async for piece in opened.chunks()])


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_any_order_of_steps_agrees_with_a_model() -> None:
    for number in rounds(12):
        run_machine(
            seed(number)(Uploads),
            settings=settings(
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


@pytest.fixture
def world() -> World:
    return World()


async def test_closing_one_piece_reads_nothing_again(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"content"), None)
    world.counted.calls.clear()
    await repository.finish_upload(uuid, Digest.of(b"content"), Bytes(), None)
    assert world.counted.calls["open"] == 0
    assert world.counted.calls["compose"] == 1


async def test_closing_one_piece_by_the_announced_algorithm_reads_nothing_again(
    world: World,
) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha512")).uuid
    await repository.append(uuid, Bytes(b"content"), None)
    world.counted.calls.clear()
    await repository.finish_upload(uuid, Digest.of(b"content", "sha512"), Bytes(), None)
    assert world.counted.calls["open"] == 0


async def test_a_body_in_the_closing_request_goes_straight_to_its_place(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    world.counted.calls.clear()
    await repository.finish_upload(uuid, Digest.of(b"content"), Bytes(b"content"), None)
    assert (world.counted.calls["write"], world.counted.calls["compose"]) == (1, 0)


@pytest.mark.parametrize("noted", [True, False])
async def test_a_closing_request_that_died_on_its_way_is_finished_by_the_next(
    world: World, noted: bool
) -> None:
    """Of a single piece nothing need be noted: its record says what was proved."""
    repository, digest = world.repository(), Digest.of(b"content")
    for left in ("chunks", "data", "link", "session"):
        uuid = (await repository.begin_upload("sha256")).uuid
        await repository.append(uuid, Bytes(b"content"), None)
        session = await world.store.sessions.get(NAME, uuid)
        if noted:
            await world.store.sessions.put_commit(session, Commit(digest, 7, world.store.driver.epoch))
        keys = [chunk.key for chunk in await world.store.sessions.chunks(session)]
        if left != "chunks":
            await world.store.content.compose(digest, keys, size=7)
        if left in ("link", "session"):
            await world.store.links.put_layer(NAME, digest)
        if left == "session":
            await world.store.sessions.drop(uuid)
        await repository.finish_upload(uuid, digest, Bytes(), None)
        assert (await repository.blob(digest, may_push=True)).size_bytes == 7
        assert await world.keys(layout.UPLOADS) == []
        await world.remove_all(await world.keys(layout.DISTRIBUTION))


async def test_a_commit_of_before_a_power_cut_proves_nothing_of_what_came_after(world: World) -> None:
    """The cut keeps the commit and tears the second chunk; the client sends other bytes in its place."""
    repository, content = world.repository(), b"first second"
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"first "), None)
    await repository.append(uuid, Bytes(b"second"), None)
    session = await world.store.sessions.get(NAME, uuid)
    chunks = await world.store.sessions.chunks(session)
    digest = Digest.of(content)
    await world.store.sessions.put_commit(session, Commit(digest, 12, world.store.driver.epoch))
    world.counted.epoch = "after the cut"
    await world.store.driver.put(chunks[1].key, b"")
    assert await repository.upload_size(uuid) == 6
    await repository.append(uuid, Bytes(b"EVIL!!"), None)
    with pytest.raises(DigestInvalid):
        await repository.finish_upload(uuid, digest, Bytes(), None)
    assert await world.keys(layout.BLOBS) == []


async def test_a_commit_of_before_a_power_cut_whose_blob_is_whole_is_finished(world: World) -> None:
    repository, digest = world.repository(), Digest.of(b"content")
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"content"), None)
    session = await world.store.sessions.get(NAME, uuid)
    keys = [chunk.key for chunk in await world.store.sessions.chunks(session)]
    await world.store.sessions.put_commit(session, Commit(digest, 7, world.store.driver.epoch))
    await world.store.content.compose(digest, keys, size=7)
    world.counted.epoch = "after the cut"
    await repository.finish_upload(uuid, digest, Bytes(), None)
    assert (await repository.blob(digest, may_push=True)).size_bytes == 7


async def test_a_closing_request_with_the_last_piece_may_be_repeated(world: World) -> None:
    repository, digest = world.repository(), Digest.of(b"one two")
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"one "), None)
    # The first time the process died behind the piece.
    await repository.append(uuid, Bytes(b"two"), None)
    await repository.finish_upload(uuid, digest, Bytes(b"two"), ByteRange(4, 7))
    assert (await repository.blob(digest, may_push=True)).size_bytes == 7
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"one "), None)
    await repository.append(uuid, Bytes(b"two"), None)
    await repository.finish_upload(uuid, digest, Bytes(b"two"), None)
    assert await world.keys(layout.UPLOADS) == []


async def test_a_session_does_not_expire_while_a_piece_comes_in(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid

    class Slow(Bytes):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in (b"a", b"b", b"c"):
                yield piece
                world.clock.advance(days=6)
                if piece != b"a":
                    assert await expire(world.registry, after=timedelta(days=7)) == 0

    assert await repository.append(uuid, Slow(b"abc"), None) == 3


async def test_a_body_that_does_not_belong_to_the_digest_closes_nothing(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"content"), None)
    with pytest.raises(DigestInvalid):
        await repository.finish_upload(uuid, Digest.of(b"content"), Bytes(b" and more"), None)


async def test_closing_requests_that_died_behind_their_piece_leave_it_once(world: World) -> None:
    repository, digest = world.repository(), Digest.of(b"one two")
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"one "), None)
    session = await world.store.sessions.get(NAME, uuid)
    for _ in range(3):
        await world.registry.uploads._append(session, Bytes(b"two"), None, closing=digest)
    assert await repository.upload_size(uuid) == 7


async def test_the_closing_piece_may_be_one_more_than_the_limit() -> None:
    world = World(chunks=2)
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    for piece in (b"a", b"b"):
        await repository.append(uuid, Bytes(piece), None)
    with pytest.raises(BlobUploadInvalid, match="closing PUT"):
        await repository.append(uuid, Bytes(b"c"), None)
    for refused in (DigestInvalid, BlobUploadInvalid, BlobUploadInvalid):
        with pytest.raises(refused):
            await repository.finish_upload(uuid, Digest.of(b"wrong"), Bytes(b"c"), None)
    await repository.finish_upload(uuid, Digest.of(b"abc"), Bytes(), None)


async def test_read_only_holds_for_a_body_under_way(world: World) -> None:
    class Late(Bytes):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"content"
            world.registry.read_only = True

    digest = Digest.of(b"content")
    with pytest.raises(ReadOnly):
        await world.repository().push_blob(digest, Late(b"content"))
    uuid = (await begun(world)).uuid
    with pytest.raises(ReadOnly):
        await world.repository().finish_upload(uuid, Digest.of(b"more content"), Late(b"content"), None)
    with pytest.raises(BlobUnknown):
        await world.repository().blob(digest, may_push=False)
    world.registry.read_only = False
    await world.repository().finish_upload(uuid, Digest.of(b"more content"), Bytes(), None)


async def begun(world: World) -> Session:
    """An upload with a piece in it."""
    world.registry.read_only = False
    session = await world.repository().begin_upload("sha256")
    await world.repository().append(session.uuid, Bytes(b"more "), None)
    return session


@pytest.mark.parametrize("sound_elsewhere", [False, True])
async def test_other_bytes_for_a_torn_piece_never_lie_under_what_was_proved_before(
    world: World, sound_elsewhere: bool
) -> None:
    pieces = [b"A" * 10, b"B" * 10]
    repository, content = world.repository(), b"".join(pieces)
    digest = Digest.of(content)
    uuid = (await repository.begin_upload("sha256")).uuid
    for piece in pieces:
        await repository.append(uuid, Bytes(piece), None)
    session = await world.store.sessions.get(NAME, uuid)
    torn = (await world.store.sessions.chunks(session))[1].key
    await world.store.sessions.put_commit(session, Commit(digest, 20, world.driver.epoch))
    world.counted.epoch = "another boot"
    await world.driver.put(torn, b"\0" * 10)
    if sound_elsewhere:
        await world.blob(content, OTHER)
    assert await repository.upload_size(uuid) == 10
    if not sound_elsewhere:
        with pytest.raises(BlobUploadUnknown, match="bytes are gone"):
            await repository.finish_upload(uuid, digest, Bytes(), None)
    await repository.append(uuid, Bytes(b"C" * 10), None)
    if sound_elsewhere:
        await repository.finish_upload(uuid, digest, Bytes(), None)
        assert await world.driver.get(layout.blob_data(digest), limit=100) == content
    else:
        with pytest.raises(DigestInvalid):
            await repository.finish_upload(uuid, digest, Bytes(), None)
        assert await world.keys(layout.BLOBS) == []


async def test_a_piece_behind_what_was_proved_is_no_part_of_it(world: World) -> None:
    session = await begun(world)
    digest = Digest.of(b"more ")
    await world.store.sessions.put_commit(session, Commit(digest, 5, world.driver.epoch))
    await world.repository().append(session.uuid, Bytes(b"late"), None)
    await world.repository().finish_upload(session.uuid, digest, Bytes(), None)
    assert await world.driver.get(layout.blob_data(digest), limit=100) == b"more "


async def test_a_session_closed_as_one_digest_cannot_be_closed_as_another(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    await repository.append(uuid, Bytes(b"content"), None)
    session = await world.store.sessions.get(NAME, uuid)
    await world.store.sessions.put_commit(session, Commit(Digest.of(b"content"), 7, world.store.driver.epoch))
    with pytest.raises(DigestInvalid):
        await repository.finish_upload(uuid, Digest.of(b"other"), Bytes(), None)


async def test_a_finished_blob_of_another_repository_finishes_nothing(world: World) -> None:
    digest = await world.blob(b"content", OTHER)
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    with pytest.raises(DigestInvalid):
        await repository.finish_upload(uuid, digest, Bytes(), None)
    with pytest.raises(BlobUnknown):
        await repository.blob(digest, may_push=True)
    await repository.cancel_upload(uuid)
    with pytest.raises(BlobUploadUnknown):
        await repository.finish_upload(uuid, digest, Bytes(), None)


async def test_bodies_received_at_once_are_bounded(world: World) -> None:
    world.registry.uploads._limits = UploadLimits(open=10, chunks=10, in_flight=1)
    repository = world.repository()

    class Slow(Bytes):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            with pytest.raises(TooManyRequests) as caught:
                await world.blob(b"meanwhile")
            assert caught.value.headers["Retry-After"]
            yield b"content"

    await repository.push_blob(Digest.of(b"content"), Slow(b"content"))
    await world.blob(b"afterwards")


async def test_a_wrong_digest_has_the_pieces_read_once(world: World) -> None:
    repository = world.repository()
    uuid = (await repository.begin_upload("sha256")).uuid
    for piece in (b"one", b"two"):
        await repository.append(uuid, Bytes(piece), None)

    async def reads(content: bytes) -> int:
        before = world.counted.calls["open"]
        with pytest.raises(DigestInvalid):
            await repository.finish_upload(uuid, Digest.of(content), Bytes(), None)
        return world.counted.calls["open"] - before

    assert [await reads(wrong) for wrong in (b"wrong", b"wrong", b"other")] == [2, 0, 0]
    await repository.append(uuid, Bytes(b"three"), None)
    assert [await reads(b"wrong") for _ in range(2)] == [3, 0]
    await repository.finish_upload(uuid, Digest.of(b"onetwothree"), Bytes(), None)
