"""The contract's sentences on listings, one test each."""

from __future__ import annotations

from storage.contract import Driver
from tests.storage.probing import (
    DriverTests,
    Probe,
    walked,
)


class ListingConformance(DriverTests):
    """Names and keys, in order."""

    many = 3000

    # children

    async def test_children_are_immediate_and_in_byte_order(self, driver: Driver, probe: Probe) -> None:
        for key in ("p/b", "p/a/1", "p/a/2/3", "p/a-c", "p/A", "p/a.d", "p/a0", "q", "pp/x", "p-/x"):
            probe.set(key, b"")
        names = ["A", "a", "a-c", "a.d", "a0", "b"]
        assert await driver.children("p") == names
        assert await driver.children("") == ["p", "p-", "pp", "q"]
        assert await driver.children("p/a") == ["1", "2"]
        for at, name in enumerate(names):
            assert await driver.children("p", after=name) == names[at + 1 :]
            assert await driver.children("p", after=name, limit=2) == names[at + 1 : at + 3]
        assert await driver.children("p", after="a-") == names[2:]
        assert await driver.children("p", limit=0) == []
        assert await driver.children("p", limit=100) == names

    async def test_children_of_nothing(self, driver: Driver, probe: Probe) -> None:
        assert await driver.children("") == []
        probe.set("a/b", b"")
        assert await driver.children("a/b") == []
        assert await driver.children("a/b/c") == []
        assert await driver.children("c") == []

    async def test_a_name_without_objects_is_no_child(self, driver: Driver) -> None:
        await driver.put("a/b/c", b"")
        await driver.put("a/d", b"")
        await driver.delete(["a/b/c"])
        assert await driver.children("a") == ["d"]

    # walk

    KEYS = (
        "a", "a-b", "a-b.c", "a.b/c", "a0", "b-/x", "b.", "b/-", "b/a", "b/a-/x", "b/a.d", "b/b/c/d", "b0",
        "c/x",
    )  # fmt: skip

    async def test_walk_is_in_byte_order_of_the_whole_key(self, driver: Driver, probe: Probe) -> None:
        for key in reversed(self.KEYS):
            probe.set(key, b"")
        assert sorted(self.KEYS, key=str.encode) == list(self.KEYS)
        assert await walked(driver, "") == list(self.KEYS)
        assert await walked(driver, "b") == [key for key in self.KEYS if key.startswith("b/")]

    async def test_walk_goes_on_behind_any_key(self, driver: Driver, probe: Probe) -> None:
        for key in self.KEYS:
            probe.set(key, b"")
        for after in (*self.KEYS, "b", "b/", "b/b", "b/b/c", "b/b/c/d/e", "aa", "z", "A", "b/a-"):
            assert await walked(driver, "", after) == [key for key in self.KEYS if key > after], after
            expected = [key for key in self.KEYS if key > after and key.startswith("b/")]
            assert await walked(driver, "b", after) == expected, after

    async def test_walk_of_nothing(self, driver: Driver, probe: Probe) -> None:
        assert await walked(driver, "") == []
        probe.set("a/b", b"")
        for prefix in ("a/b", "a/b/c", "c"):
            assert await walked(driver, prefix) == []

    async def test_a_walk_may_be_left(self, driver: Driver, probe: Probe) -> None:
        for key in self.KEYS:
            probe.set(key, b"")
        async for key in driver.walk(""):
            assert key == self.KEYS[0]
            break
        assert await walked(driver, "", self.KEYS[0]) == list(self.KEYS[1:])

    async def test_a_walk_bears_deletes_of_what_it_gives(self, driver: Driver, probe: Probe) -> None:
        for key in self.KEYS:
            probe.set(key, b"")
        seen = []
        async for key in driver.walk(""):
            seen.append(key)
            await driver.delete([key])
        assert seen == list(self.KEYS)
        assert probe.names() == set()

    async def test_a_walk_of_many(self, driver: Driver, probe: Probe) -> None:
        keys = [f"d{number % 7}/{number:05}" for number in range(self.many)]
        for key in keys:
            probe.set(key, b"")
        assert await walked(driver, "") == sorted(keys)
        assert await driver.children("d3") == sorted(key[3:] for key in keys if key.startswith("d3/"))
