"""The folders that just work, by a clock that only the test moves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from registry.bundles.folders import Outbox
from registry.bundles.keys import new_key, write_key
from registry.bundles.settings import StreamSettings
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from tests.bundles.sides import Side
from tests.inmemory import image


async def test_a_clock_that_was_wrong_once_does_not_end_a_schedule(tmp_path: Path) -> None:
    private, _ = write_key(new_key("ecdsa-p256"), tmp_path)
    side = Side({"export": {"dir": str(tmp_path / "out"), "signing_key_file": str(private)}})
    stream = StreamSettings(
        name="weekly", repositories=(RepositoryPattern("team/**"),), interval=timedelta(days=1)
    )
    outbox = Outbox(side.bundles, stream, who="tester")

    async def written(note: str) -> int:
        await side.world.push(image(note), Tag("v1"), RepositoryName("team/app"))
        await outbox.if_due()
        return await side.bundles.exporting.sent.last("weekly")

    assert await written("one") == 1
    assert await written("too early") == 1
    side.world.clock.advance(days=400)
    assert await written("by a clock that is far ahead") == 2
    side.world.clock.advance(days=-400)
    assert await written("when it is right again") == 3
