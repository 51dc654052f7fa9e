"""What was acknowledged as durable survives a power cut, and nothing is ever found half."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from storage.errors import AlreadyExists
from storage.local import LocalDriver
from tests.storage.powercut import Moment, PowerCutFiles
from tests.storage.probing import pieces
from tests.storage.watched import WatchedFiles

pytestmark = pytest.mark.exhaustive

Work = Callable[[LocalDriver], Awaitable[object]]
Found = dict[str, bytes]


class Disk:
    """A driver on a disk that is cut, again and again, while it works."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cuts = itertools.count()
        (path / "root").mkdir()
        self.files = PowerCutFiles(path / "root")
        self.driver = self.process()

    def process(self) -> LocalDriver:
        """A driver that knows nothing of what another one has made."""
        return LocalDriver(self._path / "root", files=self.files)

    async def before(self, work: Work) -> None:
        """Do what happened long ago."""
        await work(self.driver)
        self.files.settle()

    async def during(self, work: Work) -> list[Found]:
        """Do it, and find what any cut on the way leaves."""
        self.files.moments.clear()
        await work(self.driver)
        return [found for moment in self.files.moments for found in self._found(moment)]

    def after(self) -> list[Found]:
        """What any cut at this moment leaves."""
        return self._found(self.files.moment())

    def _found(self, moment: Moment) -> list[Found]:
        all_found = []
        for outcome in moment.outcomes():
            root = self._path / f"cut{next(self._cuts)}"
            moment.restore(root, outcome)
            all_found.append(
                {
                    str(path.relative_to(root)): path.read_bytes()
                    for path in root.rglob("*")
                    if path.is_file() and not path.name.startswith(".tmp-")
                }
            )
        return all_found


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    await disk.driver.aclose()
    disk.files.close_all()


OLD, NEW = b"old", b"new bytes"

WRITES: dict[str, Work] = {
    "put": lambda driver: driver.put("a/b/key", NEW),
    "put-if-absent": lambda driver: driver.put("a/b/key", NEW, if_absent=True),
    "write": lambda driver: driver.write("a/b/key", pieces(NEW[:3], NEW[3:])),
    "write-if-absent": lambda driver: driver.write("a/b/key", pieces(NEW), if_absent=True),
    "copy": lambda driver: driver.copy("a/b/key", "source/whole"),
    "move": lambda driver: driver.compose("a/b/key", ["source/whole"], size=len(NEW)),
    "join": lambda driver: driver.compose("a/b/key", ["source/1", "source/2"], size=len(NEW)),
}


async def lay_sources(driver: LocalDriver, *, durable: bool) -> None:
    """What copies and joins take."""
    await driver.put("source/whole", NEW, durable=durable)
    await driver.put("source/1", NEW[:4], durable=durable)
    await driver.put("source/2", NEW[4:], durable=durable)


@pytest.mark.parametrize("durable_sources", [True, False])
@pytest.mark.parametrize("work", WRITES.values(), ids=WRITES)
async def test_a_new_object_is_whole_or_absent_until_it_is_acknowledged(
    disk: Disk, work: Work, durable_sources: bool
) -> None:
    await disk.before(lambda driver: driver.put("a/b/neighbour", OLD))
    if durable_sources:
        await disk.before(lambda driver: lay_sources(driver, durable=True))
    else:
        await lay_sources(disk.driver, durable=False)
    for found in await disk.during(work):
        assert found.get("a/b/key") in (None, NEW)
        assert found["a/b/neighbour"] == OLD
        if durable_sources and "a/b/key" not in found:
            assert found["source/whole"] == NEW
            assert found["source/1"] + found["source/2"] == NEW
    for found in disk.after():
        assert found["a/b/key"] == NEW


@pytest.mark.parametrize("name", ["put", "write", "move", "join"])
async def test_an_object_that_is_replaced_is_the_old_or_the_new(disk: Disk, name: str) -> None:
    await disk.before(lambda driver: driver.put("a/b/key", OLD))
    await disk.before(lambda driver: lay_sources(driver, durable=True))
    for found in await disk.during(WRITES[name]):
        assert found["a/b/key"] in (OLD, NEW)
    for found in disk.after():
        assert found["a/b/key"] == NEW


@pytest.mark.parametrize("name", ["put", "write", "copy"])
async def test_the_directories_above_are_durable_with_the_object(disk: Disk, name: str) -> None:
    await disk.before(lambda driver: lay_sources(driver, durable=True))
    await WRITES[name](disk.driver)
    await disk.driver.put("a/c/d/e/key", NEW)
    for found in disk.after():
        assert found["a/b/key"] == NEW
        assert found["a/c/d/e/key"] == NEW


async def test_directories_made_for_what_is_not_durable_become_so_with_what_is(disk: Disk) -> None:
    await disk.driver.put("a/b/c/fleeting", NEW, durable=False)
    assert {} in disk.after()
    await disk.driver.put("a/b/key", NEW)
    for found in disk.after():
        assert found["a/b/key"] == NEW


@pytest.mark.parametrize("name", ["put", "write", "copy", "put-if-absent"])
async def test_directories_that_another_process_made_become_durable_too(disk: Disk, name: str) -> None:
    await disk.before(lambda driver: lay_sources(driver, durable=True))
    other = disk.process()
    await other.put("a/b/c/fleeting", NEW, durable=False)
    await WRITES[name](disk.driver)
    for found in disk.after():
        assert found["a/b/key"] == NEW
    await disk.driver.put("a/b/c/key", NEW)
    for found in disk.after():
        assert found["a/b/c/key"] == NEW
    await other.aclose()


async def test_a_directory_that_another_process_made_anew_is_not_taken_for_the_old_one(disk: Disk) -> None:
    await disk.driver.put("a/b/key", OLD)
    other = disk.process()
    await other.delete(["a/b/key"])
    await other.put("a/b/c/fleeting", OLD, durable=False)
    await disk.driver.put("a/b/key", NEW)
    for found in disk.after():
        assert found["a/b/key"] == NEW
    await other.aclose()


async def test_a_directory_is_synced_once_whichever_process_made_it(tmp_path: Path) -> None:
    files = [WatchedFiles(), WatchedFiles()]
    drivers = [LocalDriver(tmp_path, files=one) for one in files]
    await drivers[0].put("a/b/fleeting", NEW, durable=False)
    counts: list[int] = []
    for number in (1, 0, 1, 0):
        files[number].calls.clear()
        await drivers[number].put(f"a/b/key{len(counts)}", NEW)
        counts.append(files[number].names().count("sync"))
    assert counts == [4, 2, 2, 2]  # the file and its directory; at first the names of `a` and `b`, too
    for driver in drivers:
        await driver.aclose()


async def test_directories_made_anew_after_a_delete_are_durable_again(disk: Disk) -> None:
    for _ in range(2):
        await disk.driver.put("a/b/key", NEW)
        assert all(found == {"a/b/key": NEW} for found in disk.after())
        await disk.driver.delete(["a/b/key"])
        assert all(found == {} for found in disk.after())


@pytest.mark.parametrize("name", ["put-if-absent", "write-if-absent"])
async def test_equal_bytes_are_made_durable_before_they_are_a_success(disk: Disk, name: str) -> None:
    await disk.driver.put("a/b/key", NEW, durable=False)
    await WRITES[name](disk.driver)
    for found in disk.after():
        assert found == {"a/b/key": NEW}


@pytest.mark.parametrize("name", ["copy", "move"])
async def test_what_lies_there_already_is_made_durable_before_it_is_a_success(disk: Disk, name: str) -> None:
    await disk.driver.put("a/b/key", NEW, durable=False)
    if name == "copy":
        await disk.driver.put("source/whole", NEW, durable=False)
    await WRITES[name](disk.driver)
    for found in disk.after():
        assert found["a/b/key"] == NEW


class DroppingFiles(PowerCutFiles):
    """Syncs, but for the one of the number `dropped`, which does nothing."""

    dropped: int | None = None
    count = 0
    idle: set[int]

    def begin(self, dropped: int | None) -> None:
        """Count from here on."""
        self.dropped, self.count, self.idle = dropped, 0, set()

    def sync(self, descriptor: int) -> None:
        number, self.count = self.count, self.count + 1
        if not self.in_doubt(descriptor):
            self.idle.add(number)
        if number != self.dropped:
            super().sync(descriptor)


async def put_there(driver: LocalDriver) -> None:
    """What somebody has just put, and has not made durable yet."""
    await driver.put("a/b/key", NEW, durable=False)
    await driver.put("a/gone/key", OLD)
    await driver.put("source/whole", NEW, durable=False)
    await driver.put("source/1", NEW[:4], durable=False)
    await driver.put("source/2", NEW[4:], durable=False)


async def nothing(driver: LocalDriver) -> None:
    """Only what the work needs."""
    await lay_sources(driver, durable=False)
    await driver.put("a/gone/key", OLD)


WORKS: dict[str, Work] = WRITES | {"delete": lambda driver: driver.delete(["a/gone/key"])}
# Bytes are synced before it can be known that the same lie there already; then they are thrown away.
IN_VAIN = {"put-if-absent", "write-if-absent", "copy"}


async def after_a_cut(
    path: Path, before: Work, name: str, dropped: int | None
) -> tuple[set[bytes | None], set[int]]:
    """What may lie there when the work was acknowledged, and which syncs had something to do."""
    (path / "root").mkdir(parents=True)
    files = DroppingFiles(path / "root")
    driver = LocalDriver(path / "root", files=files)
    await before(driver)
    files.begin(dropped)
    await WORKS[name](driver)
    found: set[bytes | None] = set()
    moment = files.moment()
    for number, outcome in enumerate(moment.outcomes()):
        moment.restore(path / str(number), outcome)
        key = path / str(number) / ("a/gone/key" if name == "delete" else "a/b/key")
        found.add(key.read_bytes() if key.exists() else None)
    await driver.aclose()
    files.close_all()
    return found, set(range(files.count)) - files.idle


@pytest.mark.parametrize("before", [nothing, put_there])
@pytest.mark.parametrize("name", WORKS)
async def test_without_any_one_sync_what_was_acknowledged_is_lost(
    tmp_path: Path, name: str, before: Work
) -> None:
    promised = {None if name == "delete" else NEW}
    found, needed = await after_a_cut(tmp_path / "all", before, name, None)
    assert found == promised
    if before is put_there and name in IN_VAIN:
        needed.remove(0)
    assert needed
    for dropped in needed:
        found, _ = await after_a_cut(tmp_path / str(dropped), before, name, dropped)
        assert found > promised or found.isdisjoint(promised), f"without sync {dropped}"


async def test_a_refused_put_changes_nothing(disk: Disk) -> None:
    await disk.before(lambda driver: driver.put("a/b/key", OLD))

    async def refused(driver: LocalDriver) -> None:
        with pytest.raises(AlreadyExists):
            await driver.put("a/b/key", NEW, if_absent=True)

    for found in (*await disk.during(refused), *disk.after()):
        assert found == {"a/b/key": OLD}


async def test_what_was_deleted_does_not_come_back(disk: Disk) -> None:
    for key in ("a/b/key", "a/b/c/key", "a/neighbour", "d/e/key"):
        await disk.before(lambda driver, key=key: driver.put(key, OLD))  # type: ignore[misc]
    keys = ["a/b/key", "a/b/c/key", "d/e/key"]
    for found in await disk.during(lambda driver: driver.delete(keys)):
        assert found["a/neighbour"] == OLD
    for found in disk.after():
        assert found == {"a/neighbour": OLD}


async def test_a_delete_of_what_another_has_just_removed_is_durable_too(disk: Disk) -> None:
    await disk.before(lambda driver: driver.put("a/key", OLD))
    await disk.before(lambda driver: driver.put("a/neighbour", OLD))
    disk.files.unlink(f"{disk.driver.root}/a/key")
    assert {"a/key": OLD, "a/neighbour": OLD} in disk.after()
    await disk.driver.delete(["a/key"])
    for found in disk.after():
        assert found == {"a/neighbour": OLD}


async def test_what_is_not_durable_costs_no_sync(tmp_path: Path) -> None:
    files = WatchedFiles()
    driver = LocalDriver(tmp_path, files=files)
    await driver.put("a/b/c", NEW, durable=False)
    await driver.put("a/b/c", NEW, if_absent=True, durable=False)
    await driver.write("a/b/d", pieces(NEW), durable=False)
    assert not {"sync", "sync_directory"} & set(files.names())
    await driver.put("a/b/e", NEW)
    assert files.names().count("sync") == 4  # the file, its directory, the names of `a` and `b`
    await driver.put("a/b/f", NEW)
    assert files.names().count("sync") == 6
    await driver.aclose()
