from __future__ import annotations

import json

import pytest

from registry.store import layout
from registry.store.marks import WRITER_LEVEL, FormatTooNew
from tests.inmemory import World


@pytest.fixture
def world() -> World:
    return World()


async def test_a_store_without_a_mark_may_be_written(world: World) -> None:
    await world.store.marks.check_format()
    await world.store.marks.put_format()
    await world.store.marks.check_format()
    assert json.loads(await world.driver.get(layout.FORMAT, limit=100)) == {"oldest_writer": WRITER_LEVEL}


async def test_a_mark_is_not_lowered(world: World) -> None:
    newer = json.dumps({"oldest_writer": WRITER_LEVEL + 1}).encode()
    await world.driver.put(layout.FORMAT, newer)
    await world.store.marks.put_format()
    assert await world.driver.get(layout.FORMAT, limit=100) == newer
    with pytest.raises(FormatTooNew, match="from level 2 on and this program writes level 1"):
        await world.store.marks.check_format()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"oldest_writer":null}', b"\xff", b"[" * 4000, b" " * 5000],
    ids=["empty", "list", "nothing", "null", "no text", "deep", "long"],
)
async def test_a_mark_that_cannot_be_read_forbids_writing_and_is_named(world: World, content: bytes) -> None:
    await world.driver.put(layout.FORMAT, content)
    with pytest.raises(FormatTooNew, match=r"_moorage/v1/format, cannot be read: .*\{\"oldest_writer\": 1\}"):
        await world.store.marks.check_format()


async def test_read_only_goes_on_and_off(world: World) -> None:
    assert not await world.store.marks.is_read_only()
    await world.store.marks.set_read_only(on=True)
    await world.store.marks.set_read_only(on=True)
    assert await world.store.marks.is_read_only()
    await world.store.marks.set_read_only(on=False)
    await world.store.marks.set_read_only(on=False)
    assert not await world.store.marks.is_read_only()
