from __future__ import annotations

from registry.access.identity import identify
from registry.access.seal import Unsealed
from registry.access.vault import Vault
from storage.memory import MemoryDriver


async def test_a_registry_keeps_its_name_and_a_copy_gets_another() -> None:
    vault = Vault(MemoryDriver(), Unsealed())
    name = await identify(vault, None, may_write=True)
    assert name == await identify(vault, "place", may_write=True), "where it lies is known from now on"
    assert name == await identify(vault, "place", may_write=True)
    assert name == await identify(vault, None, may_write=True)
    copy = await identify(vault, "elsewhere", may_write=True)
    assert copy != name and copy == await identify(vault, "elsewhere", may_write=True)


async def test_what_may_not_be_written_keeps_its_name_too() -> None:
    vault = Vault(MemoryDriver(), Unsealed())
    assert await identify(vault, "place", may_write=False) != await identify(vault, "place", may_write=False)
    name = await identify(vault, "place", may_write=True)
    assert await identify(vault, "elsewhere", may_write=False) == name
