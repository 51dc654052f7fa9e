"""The contract's sentences on keys and errors, one test each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from storage.contract import Driver
from storage.errors import (
    AlreadyExists,
    Forbidden,
    InvalidKey,
    InvalidRange,
    NotFound,
    OutOfSpace,
    StorageError,
    TooLarge,
    Unavailable,
)
from tests.storage.probing import (
    BAD_KEYS,
    GOOD_KEYS,
    DriverTests,
    Probe,
    pieces,
    read,
    walked,
)


class KeyConformance(DriverTests):
    """Keys, errors and the epoch."""

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_every_method_refuses_what_is_no_key(self, driver: Driver, probe: Probe, key: str) -> None:
        probe.set("good", b"x")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: driver.get(key, limit=1),
            lambda: driver.put(key, b""),
            lambda: read(driver, key),
            lambda: driver.write(key, pieces(b"")),
            lambda: driver.compose(key, ["good"], size=1),
            lambda: driver.compose("other", [key], size=1),
            lambda: driver.copy(key, "good"),
            lambda: driver.copy("other", key),
            lambda: driver.stat(key),
            lambda: driver.delete([key]),
            lambda: driver.delete(["good", key]),
        ]
        if key:
            calls += [lambda: driver.children(key), lambda: walked(driver, key)]
        for call in calls:
            with pytest.raises(InvalidKey):
                await call()
        assert probe.names() == {"good"}

    @pytest.mark.parametrize("key", GOOD_KEYS)
    async def test_what_keeps_to_the_grammar_is_a_key(self, driver: Driver, probe: Probe, key: str) -> None:
        await driver.put(key, b"x")
        assert probe.get(key) == b"x"
        assert await driver.get(key, limit=1) == b"x"
        assert await walked(driver, "") == [key]

    async def test_no_key_is_a_path_prefix_of_another(self, driver: Driver, probe: Probe) -> None:
        await driver.put("a/b", b"x")
        for key in ("a", "a/b/c", "a/b/c/d"):
            for if_absent in (False, True):
                with pytest.raises(InvalidKey):
                    await driver.put(key, b"y", if_absent=if_absent)
                with pytest.raises(InvalidKey):
                    await driver.write(key, pieces(b"y"), if_absent=if_absent)
            with pytest.raises(InvalidKey):
                await driver.copy(key, "a/b")
            with pytest.raises(InvalidKey):
                await driver.compose(key, [], size=0)
        assert probe.names() == {"a/b"}

    async def test_nothing_is_read_below_an_object_or_above_it(self, driver: Driver) -> None:
        await driver.put("a/b", b"x")
        for key in ("a", "a/b/c"):
            with pytest.raises(NotFound):
                await driver.get(key, limit=9)
            with pytest.raises(NotFound):
                await driver.stat(key)
            with pytest.raises(NotFound):
                await read(driver, key)
            with pytest.raises(NotFound):
                await driver.copy("c", key)
            with pytest.raises(NotFound):
                await driver.compose("c", [key], size=1)
            with pytest.raises(NotFound):
                await driver.compose("c", [key, "a/b"], size=2)
            await driver.delete([key])
        assert await driver.get("a/b", limit=1) == b"x"

    async def test_all_errors_are_storage_errors(self, driver: Driver) -> None:
        for kind in (
            AlreadyExists,
            Forbidden,
            InvalidKey,
            InvalidRange,
            NotFound,
            OutOfSpace,
            TooLarge,
            Unavailable,
        ):
            assert issubclass(kind, StorageError)
        with pytest.raises(StorageError) as caught:
            await driver.get("a/b", limit=1)
        assert caught.value.key == "a/b"
        assert "a/b" in str(caught.value)

    async def test_the_epoch_is_a_name_or_unknown(self, driver: Driver) -> None:
        assert driver.epoch != ""
        assert driver.epoch == driver.epoch
