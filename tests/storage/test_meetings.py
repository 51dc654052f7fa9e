"""What another process removes, or removes and makes anew, while a write or a delete is under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from storage.local import LocalDriver
from tests.storage.powercut import PowerCutFiles
from tests.storage.probing import pieces
from tests.storage.watched import CALLS

pytestmark = pytest.mark.exhaustive

Work = Callable[[LocalDriver], Awaitable[object]]

OLD, NEW = b"old", b"new bytes"
KEY, BESIDE, ABOVE = "top/tags/a/link", "top/tags/b/link", "top/other"


class InterruptedFiles(PowerCutFiles):
    """Somebody else does something just before the file call of the number `at`."""

    at: int | None = None
    meanwhile: Callable[[], None]

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            if self.at is not None:
                self.at -= 1
                if self.at < 0:
                    self.at = None
                    self.meanwhile()
            return value(*arguments, **options)

        return call


async def _take(driver: LocalDriver, *keys: str) -> None:
    # Durable, or not yet: that would make durable what the other one is still to see to itself.
    await driver.delete(keys, durable=False)


async def removed(driver: LocalDriver) -> None:
    """The directory goes with the last that lies in it."""
    await _take(driver, KEY, BESIDE)


async def removed_with_what_is_above(driver: LocalDriver) -> None:
    """And the one above."""
    await _take(driver, KEY, BESIDE, ABOVE)


async def made_anew(driver: LocalDriver) -> None:
    """Another directory of the same name lies there."""
    await removed(driver)
    await driver.put("top/tags/c/link", NEW, durable=False)


async def made_anew_and_durable(driver: LocalDriver) -> None:
    """And somebody has made it durable."""
    await removed(driver)
    await driver.put("top/tags/c/link", NEW)


async def all_made_anew(driver: LocalDriver) -> None:
    """The one above it, too."""
    await removed_with_what_is_above(driver)
    await driver.put("top/tags/c/link", NEW, durable=False)


# What is done, to which key, and what it then has, unless another takes it away again.
WORKS: dict[str, tuple[Work, str, bytes | None]] = {
    "delete": (lambda driver: driver.delete([KEY]), KEY, None),
    "delete several": (lambda driver: driver.delete(["top/elsewhere/d/link", KEY]), KEY, None),
    "put": (lambda driver: driver.put(KEY, NEW), KEY, NEW),
    "put a new one": (lambda driver: driver.put("top/tags/new", NEW, if_absent=True), "top/tags/new", NEW),
    "write": (lambda driver: driver.write(KEY, pieces(NEW)), KEY, NEW),
}
MEANWHILE: list[Work] = [
    removed,
    removed_with_what_is_above,
    made_anew,
    made_anew_and_durable,
    all_made_anew,
]


async def interrupted(
    root: Path, name: str, meanwhile: Work, number: int
) -> tuple[bytes | None, set[bytes | None], bool]:
    """What lies under the key now, and after any cut that may come now; and whether there was such a call."""
    work, key, _ = WORKS[name]
    (root / "now").mkdir(parents=True)
    files = InterruptedFiles(root / "now")

    async def another_process() -> None:
        other = LocalDriver(root / "now", files=files)
        await meanwhile(other)
        await other.aclose()

    def run() -> None:
        other = threading.Thread(target=asyncio.run, args=(another_process(),))
        other.start()
        other.join()

    files.meanwhile = run
    driver = LocalDriver(root / "now", files=files)
    for lying in (KEY, BESIDE, ABOVE, "top/elsewhere/d/link", "top/elsewhere/e/link"):
        await driver.put(lying, OLD)
    files.settle()
    files.at = number
    await work(driver)
    reached, files.at = files.at is None, None
    now = found(root / "now" / key)
    after = set()
    moment = files.moment()
    for cut, outcome in enumerate(moment.outcomes()):
        moment.restore(root / str(cut), outcome)
        after.add(found(root / str(cut) / key))
    await driver.aclose()
    files.close_all()
    return now, after, reached


def found(path: Path) -> bytes | None:
    """What lies there."""
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("name", WORKS)
async def test_what_was_acknowledged_is_durable_whatever_another_process_prunes_meanwhile(
    tmp_path: Path, name: str, meanwhile: Work
) -> None:
    promised = WORKS[name][2]
    for number in count():
        now, after, reached = await interrupted(tmp_path / str(number), name, meanwhile, number)
        where = f"before file call {number}"
        assert now in (promised, None), where
        assert now in after, where
        assert after <= {promised, now}, where
        if not reached:
            break
    assert number > 5
