from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from registry.access.identity import identify
from registry.access.seal import KeySeal, Seal, SealBroken, Unsealed, new_key, read_seal
from registry.access.vault import Vault
from registry.store import layout
from storage.contract import Driver
from storage.local import LocalDriver
from storage.memory import MemoryDriver
from tests.interleaving import Actor, PausingDriver, explore, run


def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "seal.key"
    path.write_text(new_key())
    path.chmod(0o600)
    return path


@pytest.fixture(params=["unsealed", "sealed"])
def seal(request: pytest.FixtureRequest, tmp_path: Path) -> Seal:
    return Unsealed() if request.param == "unsealed" else read_seal(key_file(tmp_path))


class TestDocuments:
    async def test_what_is_put_is_found_under_any_name(self, seal: Seal) -> None:
        vault = Vault(MemoryDriver(), seal)
        for name in ("alice", "a/../b", "Ä \n", "x" * 100):
            await vault.put("accounts", name, {"name": name})
            assert await vault.get("accounts", name) == {"name": name}
        assert sorted(await vault.names("accounts")) == sorted(["alice", "a/../b", "Ä \n", "x" * 100])
        assert await vault.get("accounts", "bob") is None
        assert await vault.remove("accounts", "alice")
        assert not await vault.remove("accounts", "alice")
        assert await vault.get("accounts", "alice") is None

    async def test_one_of_several_claims_wins(self, seal: Seal) -> None:
        vault = Vault(MemoryDriver(), seal)
        won = await asyncio.gather(*(vault.claim("keys", "ci", {"same": 1}) for _ in range(5)))
        assert sorted(won) == [False] * 4 + [True]

    async def test_nothing_is_written_open_where_the_registry_is_sealed(self, tmp_path: Path) -> None:
        driver = MemoryDriver()
        sealed = Vault(driver, read_seal(key_file(tmp_path)))
        name = await identify(sealed, "/here", may_write=True)
        before = [key async for key in driver.walk("")]
        slip = Vault(driver, Unsealed())
        for _ in range(2):
            with pytest.raises(SealBroken, match=r"access\.seal_key_file"):
                await slip.put("accounts", "bob", {})
            with pytest.raises(SealBroken, match=r"access\.seal_key_file"):
                await slip.claim("apikeys", "ci", {})
            with pytest.raises(SealBroken, match=r"access\.seal_key_file"):
                await slip.revise("accounts", "bob", lambda _: {})
        assert [key async for key in driver.walk("")] == before
        await sealed.put("accounts", "bob", {})
        assert await identify(sealed, "/here", may_write=True) == name

    async def test_a_document_that_is_none_is_said(self, seal: Seal) -> None:
        driver = MemoryDriver()
        key = layout.secret("keys", b"ci".hex())
        await driver.put(key, seal.close(key, b"[]"))
        with pytest.raises(SealBroken, match="holds no document"):
            await Vault(driver, seal).get("keys", "ci")


class TestLogs:
    async def test_a_change_sees_what_was_before(self, seal: Seal) -> None:
        vault = Vault(MemoryDriver(), seal)
        for _ in range(3):
            await vault.revise("accounts", "a", lambda before: {"n": (before or {"n": 0})["n"] + 1})
        assert await vault.latest("accounts", "a") == {"n": 3}
        assert await vault.numbers("accounts", "a") == [3]
        assert [one async for one in vault.logs("accounts")] == [("a", {"n": 3})]

    async def test_as_many_are_kept_as_asked(self, seal: Seal) -> None:
        vault = Vault(MemoryDriver(), seal)
        for number in range(4):
            await vault.revise("signing", "keys", lambda _, number=number: {"n": number}, keep=2)  # type: ignore[misc]
        assert await vault.numbers("signing", "keys") == [3, 4]
        assert await vault.entry("signing", "keys", 3) == {"n": 2}
        assert await vault.entry("signing", "keys", 1) is None


@pytest.mark.parametrize("words", ["xy", pytest.param("xyz", marks=pytest.mark.exhaustive)])
def test_of_changes_at_once_none_is_lost(words: str) -> None:
    """In every order of their calls to the storage."""

    def build() -> tuple[list[Actor], Callable[[], None]]:
        driver = MemoryDriver()
        vault = Vault(cast(Driver, PausingDriver(driver)), Unsealed())

        async def add(word: str) -> None:
            await vault.revise(
                "log", "a", lambda before: {"words": (before or {"words": ""})["words"] + word}
            )

        def judge() -> None:
            document = run(Vault(driver, Unsealed()).latest("log", "a"))
            assert document is not None
            assert sorted(document["words"]) == list(words), document

        return [add(word) for word in words], judge

    explore(build, preemptions=3)


class TestSeal:
    async def test_what_is_sealed_cannot_be_read_without_the_key_or_with_another(
        self, tmp_path: Path
    ) -> None:
        driver = MemoryDriver()
        await Vault(driver, read_seal(key_file(tmp_path))).put("accounts", "a", {"password": "canary"})
        (key,) = [one async for one in driver.walk("")]
        stored = await driver.get(key, limit=1000)
        assert b"canary" not in stored
        for other in (Unsealed(), KeySeal(b"k" * 32)):
            with pytest.raises(SealBroken, match=r"access\.seal_key_file"):
                await Vault(driver, other).get("accounts", "a")

    async def test_one_object_does_not_pass_for_another(self, tmp_path: Path) -> None:
        driver, seal = MemoryDriver(), read_seal(key_file(tmp_path))
        vault = Vault(driver, seal)
        await vault.put("accounts", "alice", {"admin": True})
        stored = await driver.get(layout.secret("accounts", b"alice".hex()), limit=1000)
        await driver.put(layout.secret("accounts", b"bob".hex()), stored)
        with pytest.raises(SealBroken):
            await vault.get("accounts", "bob")

    async def test_what_was_there_before_there_was_a_seal_is_read_when_it_was_sealed(
        self, tmp_path: Path
    ) -> None:
        driver = MemoryDriver()
        before, vault = Vault(driver, Unsealed()), Vault(driver, read_seal(key_file(tmp_path)))
        await before.put("accounts", "a", {"n": 1})
        await before.revise("keys/of", "b", lambda _: {"n": 2})
        await vault.put("accounts", "c", {"n": 3})
        for read in vault.get("accounts", "a"), vault.latest("keys/of", "b"):
            with pytest.raises(SealBroken, match="moorage access seal"):
                await read
        for dry_run in True, False:
            found = [one async for one in vault.seal_all(dry_run=dry_run)]
            assert found == [("accounts", "a"), ("keys/of", "b")]
        assert [one async for one in vault.seal_all(dry_run=False)] == []
        assert await vault.get("accounts", "a") == {"n": 1}
        assert await vault.latest("keys/of", "b") == {"n": 2}
        assert await vault.get("accounts", "c") == {"n": 3}

    @pytest.mark.parametrize(
        ("text", "mode", "told"),
        [
            ("short", 0o600, "does not hold a key"),
            ("", 0o600, "does not hold a key"),
            ("a key", 0o604, "chmod 600"),
            (None, 0o600, "cannot be read: No such file or directory; copy that of the registry"),
        ],
    )
    def test_a_key_file_that_is_none_is_refused(
        self, tmp_path: Path, text: str | None, mode: int, told: str
    ) -> None:
        path = tmp_path / "key"
        if text is not None:
            path.write_text(text)
            path.chmod(mode)
        with pytest.raises(SealBroken, match=told):
            read_seal(path)


async def test_on_a_disk_only_the_owner_may_read_it(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path, private=layout.SECRET)
    await driver.start()
    try:
        vault = Vault(driver, Unsealed())
        await vault.put("accounts", "a", {})
        await vault.revise("signing", "b", lambda _: {})
        await driver.put("other/key", b"")
        modes = {
            path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.name.startswith(".tmp")
        }
        assert {modes.pop(key) for key in list(modes) if key.startswith(layout.SECRET)} == {0o600}
        assert set(modes) == {"other/key"} and modes["other/key"] & 0o044
        place = driver.place(layout.SECRET)
        assert place and place != driver.place("other") and driver.place("none") is None
    finally:
        await driver.aclose()
