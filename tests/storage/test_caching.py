"""The caching driver keeps the contract, and keeps near only what is whole and what its key promises."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.caching import CachingDriver
from storage.contract import Driver
from storage.errors import NotFound, OutOfSpace, StorageError, Unavailable
from storage.eviction import evict
from storage.files import Files
from storage.local import LocalDriver
from storage.memory import MemoryDriver
from storage.metered import MeteredDriver
from tests.storage.conformance import DriverConformance
from tests.storage.powercut import PowerCutFiles
from tests.storage.probing import MIB, read
from tests.storage.test_memory import MemoryProbe

BUDGET = 64 * MIB


class Sound:
    """The check of an object whose key ends with the hash of its bytes."""

    def __init__(self, key: str) -> None:
        self._wanted = key.rpartition("/")[2]
        self._hash = hashlib.sha256()

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        self._hash.update(piece)

    def finish(self) -> None:
        if self._hash.hexdigest() != self._wanted:
            raise ValueError("other bytes")


def check_of(key: str) -> Sound | None:
    """Only what lies below `data` is named by its bytes."""
    return Sound(key) if key.startswith("data/") else None


class Cached:
    """A store, a directory near, and what is told."""

    def __init__(
        self,
        store: MeteredDriver,
        near: LocalDriver,
        budget_bytes: int = BUDGET,
        checks: list[str] | None = None,
    ) -> None:
        self.store = store
        self.near = near
        self.told: list[StorageError] = []
        self.hits: list[bool] = []
        self.later = 0.0  # by so many seconds than it is

        def counted(key: str) -> Sound | None:
            if checks is not None:
                checks.append(key)
            return check_of(key)

        self.driver = CachingDriver(
            store,
            near,
            budget_bytes=budget_bytes,
            check_of=counted,
            tell=self.told.append,
            hit=self.hits.append,
            clock=lambda: time.time() + self.later,
        )

    async def add(self, data: bytes) -> str:
        """Put an object into the store; its key."""
        key = f"data/{hashlib.sha256(data).hexdigest()}"
        await self.store.put(key, data)
        return key

    async def settled(self) -> None:
        """Wait until nothing is being kept."""
        while self.driver._tasks:
            await asyncio.wait(self.driver._tasks)

    async def has(self, key: str) -> bool:
        """Whether it is kept."""
        try:
            await self.near.stat(key)
        except NotFound:
            return False
        return True


@pytest.fixture
async def near(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    driver = LocalDriver(tmp_path / "near")
    await driver.start()
    yield driver
    await driver.aclose()


@pytest.fixture
async def cached(near: LocalDriver) -> AsyncIterator[Cached]:
    made = Cached(MeteredDriver(MemoryDriver()), near)
    yield made
    await made.driver.aclose()


class TestContract(DriverConformance):
    """The contract, kept through the wrapper."""

    @pytest.fixture
    def inner(self) -> MemoryDriver:
        return MemoryDriver()

    @pytest.fixture
    def driver(self, inner: MemoryDriver, near: LocalDriver) -> Driver:
        return CachingDriver(inner, near, budget_bytes=BUDGET, check_of=lambda _: None, tell=lambda _: None)

    @pytest.fixture
    def probe(self, inner: MemoryDriver) -> MemoryProbe:
        return MemoryProbe(inner)


@pytest.mark.parametrize("size", [0, 1, 100, MIB, 3 * MIB + 1])
async def test_what_was_read_whole_is_read_near_the_next_time(cached: Cached, size: int) -> None:
    data = os.urandom(size)
    key = await cached.add(data)
    assert await read(cached.driver, key) == data
    await cached.settled()
    cached.store.reset()
    assert await read(cached.driver, key) == data
    assert await read(cached.driver, key, size // 3, size // 2) == data[size // 3 : size // 2]
    assert await cached.driver.get(key, limit=size) == data
    assert not cached.store.calls
    assert cached.hits == [False, True, True, True]
    async with cached.driver.open(key) as opened:
        assert opened.file is not None, "the kernel can send it"


async def test_a_small_object_is_kept_by_get(cached: Cached) -> None:
    key = await cached.add(b"a manifest")
    assert await cached.driver.get(key, limit=100) == b"a manifest"
    await cached.settled()
    assert await cached.has(key)


async def test_what_a_key_does_not_determine_is_never_kept(cached: Cached) -> None:
    await cached.store.put("links/tag", b"one")
    assert await read(cached.driver, "links/tag") == b"one"
    assert await cached.driver.get("links/tag", limit=10) == b"one"
    await cached.store.put("links/tag", b"two")
    assert await cached.driver.get("links/tag", limit=10) == b"two"
    assert cached.hits == []


async def test_a_part_is_not_kept(cached: Cached) -> None:
    key = await cached.add(b"0123456789")
    assert await read(cached.driver, key, 2, 5) == b"234"
    await cached.settled()
    assert not await cached.has(key)


async def test_bytes_that_lack_the_digest_are_not_kept(cached: Cached) -> None:
    key = await cached.add(b"good")
    await cached.store.put(key, b"evil")
    assert await read(cached.driver, key) == b"evil", "whoever reads finds out by the digest"
    await cached.settled()
    assert not await cached.has(key)
    (told,) = cached.told
    assert isinstance(told, Unavailable) and told.key == key
    await cached.store.put(key, b"good")
    assert await read(cached.driver, key) == b"good"
    await cached.settled()
    assert await cached.has(key)


async def test_a_reader_that_leaves_keeps_nothing(cached: Cached) -> None:
    key = await cached.add(os.urandom(4 * MIB))
    async with cached.driver.open(key) as opened:
        chunks = opened.chunks()
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
    await cached.settled()
    assert not await cached.has(key)
    assert not cached.told


async def test_many_readers_at_once_keep_it_once(cached: Cached) -> None:
    data = os.urandom(2 * MIB)
    key = await cached.add(data)
    assert set(await asyncio.gather(*(read(cached.driver, key) for _ in range(8)))) == {data}
    await cached.settled()
    assert await cached.has(key)


async def test_what_is_deleted_is_kept_no_longer(cached: Cached) -> None:
    key = await cached.add(b"bytes")
    await read(cached.driver, key)
    await cached.settled()
    await cached.driver.delete([key, "links/tag"])
    with pytest.raises(NotFound):
        await cached.driver.get(key, limit=10)


async def test_whether_it_exists_is_asked_of_the_store(cached: Cached) -> None:
    key = await cached.add(b"bytes")
    await read(cached.driver, key)
    await cached.settled()
    await cached.store.delete([key])
    with pytest.raises(NotFound):
        await cached.driver.stat(key)


async def test_the_directory_may_go_at_any_moment(cached: Cached, tmp_path: Path) -> None:
    data = os.urandom(2 * MIB)
    key = await cached.add(data)
    await read(cached.driver, key)
    await cached.settled()
    async with cached.driver.open(key) as opened:
        shutil.rmtree(tmp_path / "near")
        assert b"".join([piece async for piece in opened.chunks()]) == data
    assert await read(cached.driver, key) == data
    await cached.settled()
    assert await cached.has(key)


async def test_what_fails_while_an_object_is_open_is_its_own_error(cached: Cached) -> None:
    key = await cached.add(b"bytes")
    await read(cached.driver, key)
    await cached.settled()
    with pytest.raises(OutOfSpace):
        async with cached.driver.open(key):
            raise OutOfSpace("another", "whoever has opened it writes elsewhere")


async def test_what_was_altered_near_is_not_given_by_get_and_kept_anew(cached: Cached) -> None:
    key = await cached.add(b"a manifest")
    await cached.driver.get(key, limit=100)
    await cached.settled()
    await cached.near.put(key, b"a mxnifest")
    assert await cached.driver.get(key, limit=100) == b"a manifest"
    await cached.settled()
    assert await cached.near.get(key, limit=100) == b"a manifest"
    assert cached.hits == [False, False] and [error.key for error in cached.told] == [key]


def damage(near: LocalDriver, key: str, *, unseen: bool = False) -> None:
    """Alter one byte of what is kept; `unseen` as a disk does."""
    path = Path(near.root, key)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    times = (status.st_atime_ns, status.st_mtime_ns if unseen else status.st_mtime_ns + 1)
    os.utime(path, ns=times)


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_what_was_altered_near_is_not_given_by_open_and_kept_anew(cached: Cached, size: int) -> None:
    data = os.urandom(size)
    key = await cached.add(data)
    await read(cached.driver, key)
    await cached.settled()
    damage(cached.near, key)
    assert await read(cached.driver, key) == data
    await cached.settled()
    assert [error.key for error in cached.told] == [key]
    for _ in range(2):
        assert await read(cached.driver, key) == data
        await cached.settled()
    assert cached.hits == [False, False, False, True]


async def test_what_was_damaged_before_the_start_is_given_once_at_most(near: LocalDriver) -> None:
    before = Cached(MeteredDriver(MemoryDriver()), near)
    data = os.urandom(3 * MIB)
    key = await before.add(data)
    await read(before.driver, key)
    await before.settled()
    damage(near, key)
    after = Cached(before.store, near)
    assert await read(after.driver, key) != data, "whoever reads finds out by the digest"
    await after.settled()
    assert "other bytes" in str(after.told[0]) and not await after.has(key)
    assert await read(after.driver, key) == data
    await after.settled()
    assert await after.has(key)
    for one in (before, after):
        await one.driver.aclose()


async def test_what_a_disk_did_to_it_is_found_within_a_day(cached: Cached) -> None:
    data = os.urandom(3 * MIB)
    key = await cached.add(data)
    await read(cached.driver, key)
    await cached.settled()
    damage(cached.near, key, unseen=True)
    cached.later = 24 * 3600 + 1
    assert await read(cached.driver, key) != data
    await cached.settled()
    assert [error.key for error in cached.told] == [key]
    assert await read(cached.driver, key) == data


async def test_what_is_sound_is_checked_once_a_day_and_given_all_the_time(near: LocalDriver) -> None:
    before = Cached(MeteredDriver(MemoryDriver()), near)
    data = os.urandom(2 * MIB)
    key = await before.add(data)
    await read(before.driver, key)
    await before.settled()
    checks: list[str] = []
    after = Cached(before.store, near, checks=checks)
    for hours in (0, 1, 23, 25, 26):
        after.later = hours * 3600.0
        async with after.driver.open(key) as opened:
            assert opened.file is not None
        await after.settled()
    # Once to know that it may be kept, each time.
    assert len(checks) - 5 == 2
    assert after.hits == [True] * 5 and not after.told
    for one in (before, after):
        await one.driver.aclose()


async def test_a_power_cut_leaves_nothing_short_near(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    files = PowerCutFiles(tmp_path / "near")
    near = LocalDriver(tmp_path / "near", files=files)
    cached = Cached(MeteredDriver(MemoryDriver()), near)
    data = os.urandom(100)
    key = await cached.add(data)
    await read(cached.driver, key)
    await cached.settled()
    moment = files.moment()
    for number, outcome in enumerate(moment.outcomes()):
        moment.restore(tmp_path / f"cut{number}", outcome)
        found = tmp_path / f"cut{number}" / key
        assert not found.exists() or found.read_bytes() == data
    await cached.driver.aclose()
    await near.aclose()


class Full(Files):
    """A disk with no room."""

    def write(self, descriptor: int, pieces: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_is_told_and_harms_no_reader(tmp_path: Path) -> None:
    near = LocalDriver(tmp_path / "near", files=Full())
    cached = Cached(MeteredDriver(MemoryDriver()), near)
    key = await cached.add(b"bytes")
    assert await read(cached.driver, key) == b"bytes"
    await cached.settled()
    assert [type(error) for error in cached.told] == [OutOfSpace]
    await cached.driver.aclose()
    await near.aclose()


async def test_the_budget_is_kept_and_what_was_read_last_stays(near: LocalDriver) -> None:
    cached = Cached(MeteredDriver(MemoryDriver()), near, 8 * MIB)
    first = await cached.add(os.urandom(MIB))
    await read(cached.driver, first)
    await cached.settled()
    for number in range(20):
        key = await cached.add(os.urandom(MIB))
        await read(cached.driver, key)
        await cached.settled()
        old = os.path.join(near.root, key)
        os.utime(old, (number, number))
        async with cached.driver.open(first):
            pass  # it is wanted again and again
        sizes = [path.stat().st_size for path in Path(near.root).rglob("*") if path.is_file()]
        assert sum(sizes) <= 8 * MIB
    assert await cached.has(first)
    await cached.driver.aclose()


async def test_what_is_too_large_a_part_of_the_budget_is_not_kept(near: LocalDriver) -> None:
    cached = Cached(MeteredDriver(MemoryDriver()), near, 4 * MIB)
    key = await cached.add(os.urandom(MIB + 1))
    await read(cached.driver, key)
    await cached.settled()
    assert not await cached.has(key)
    await cached.driver.aclose()


async def test_a_disk_that_falls_behind_holds_no_reader_up(
    cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    write = cached.near.write

    async def slow(*arguments: object, **options: object) -> int:
        await gate.wait()
        return await write(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cached.near, "write", slow)
    key = await cached.add(os.urandom(10 * MIB))
    assert len(await read(cached.driver, key)) == 10 * MIB
    gate.set()
    await cached.settled()
    assert not await cached.has(key)


class TestEviction:
    """What stays in a directory."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> Iterator[dict[str, Path]]:
        """Ten bytes each, read one after the other."""
        made = {}
        for number, name in enumerate("abcde"):
            made[name] = tmp_path / name / "file"
            made[name].parent.mkdir()
            made[name].write_bytes(b"0123456789")
            os.utime(made[name], (number, 100 - number))
        yield made

    @pytest.mark.parametrize(
        ("budget", "left"), [(50, "abcde"), (49, "bcde"), (20, "de"), (19, "e"), (0, "")]
    )
    def test_what_was_read_longest_ago_goes(
        self, files: dict[str, Path], tmp_path: Path, budget: int, left: str
    ) -> None:
        assert evict(str(tmp_path), budget) == 10 * len(left)
        assert "".join(name for name, path in files.items() if path.exists()) == left

    def test_what_is_being_written_stays(self, tmp_path: Path) -> None:
        (tmp_path / ".tmp-one").write_bytes(b"0123456789")
        assert evict(str(tmp_path), 0) == 0
        assert (tmp_path / ".tmp-one").exists()

    def test_of_what_goes_no_directory_stays(self, files: dict[str, Path], tmp_path: Path) -> None:
        deep = tmp_path / "a" / "b" / "c"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"0123456789")
        (files["e"].parent / ".tmp-one").write_bytes(b"0123456789")
        assert evict(str(tmp_path), 0) == 0
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".tmp-one", "e"]

    def test_a_directory_that_is_gone_is_empty(self, tmp_path: Path) -> None:
        assert evict(str(tmp_path / "none"), 0) == 0


async def test_what_is_forgotten_goes_and_is_kept_no_more(cached: Cached) -> None:
    kept, other, coming = [await cached.add(os.urandom(MIB)) for _ in range(3)]
    for key in (kept, other):
        await read(cached.driver, key)
    await cached.settled()
    # One is being read, and has not come to its end, when it is to be forgotten.
    async with cached.driver.open(coming) as opened:
        await cached.driver.forget([kept, coming])
        async for _ in opened.chunks():
            pass
    await cached.settled()
    assert [await cached.has(key) for key in (kept, other, coming)] == [False, True, False]
    await cached.driver.forget([])
    await read(cached.driver, kept)
    await cached.settled()
    assert await cached.has(kept)
