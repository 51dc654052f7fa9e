"""Lists of what runs somewhere: it stays, and without a list that can be relied on nothing goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import Tag
from tests.inmemory import NAME, World, image
from tests.upkeep.gathering import push_index
from tests.upkeep.retention.retaining import Known, builds, described, process, run, tags


@pytest.mark.parametrize(
    "line",
    [
        "registry.example/team/app@{digest}",
        "docker-pullable://registry.example:5000/team/app@{digest}",
        "{digest}",
        "elsewhere/name:1.0@{digest}",
        "registry.example/team/app:b0",
        "Registry.Example/team/app:b0",
        "team/app:b0",
        "registry.example:5000/team/app:b0",
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
async def test_what_runs_somewhere_stays(world: World, tmp_path: Path, line: str, *, as_json: bool) -> None:
    digests = await builds(world)
    lines = ["nginx", line.format(digest=digests[0])]
    text = json.dumps(lines) if as_json else "# what runs\n\n" + "\n".join(lines)
    (file := tmp_path / "in-use").write_text(text)
    retaining = process(world, {"newest_pushed": 2}, in_use=[{"file": str(file)}])
    await run(retaining)
    assert await tags(world) == ["b0", "b3", "b4"]
    explained = await retaining.explain(NAME, Tag("b0"))
    assert explained.stays and explained.reason == f"in use: {file}"


def _missing(file: Path) -> None:
    file.unlink()


def _stale(file: Path) -> None:
    os.utime(file, (0, 0))


def _nonsense(file: Path) -> None:
    file.write_text("team/app:b0\nTEAM!\n")


def _binary(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


def _empty(file: Path) -> None:
    file.write_text("# nothing\n")


def _of_the_future(file: Path) -> None:
    os.utime(file, (4e9, 4e9))


def _numbers(file: Path) -> None:
    file.write_text("[1, 2]")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_missing, "cannot be read"),
        (_stale, "may be at most 1d old"),
        (_nonsense, "TEAM!"),
        (_binary, "cannot be read"),
        (_numbers, "cannot be read"),
        (_empty, "is empty"),
        (_of_the_future, "written in the future"),
    ],
)
async def test_a_list_that_cannot_be_relied_on_stops_the_run(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    await builds(world)
    (file := tmp_path / "in-use").write_text("team/app:b0\n")
    spoil(file)
    retaining = process(world, {"newest_pushed": 2}, in_use=[{"file": str(file)}])
    report = await run(retaining)
    assert report.failed and len(report.stopped) == 1 and sentence in report.stopped[0]
    await retaining.if_due()
    world.clock.advance(hours=1)
    await retaining.if_due()
    assert len(await retaining.reports().last(10)) == 2
    assert len(await tags(world)) == 5


async def test_an_index_whose_image_runs_stays_also_where_another_came_before_it(
    world: World, tmp_path: Path
) -> None:
    """What the first index leads to lets the second fall, whose own list was not looked at before."""
    children = [image("one"), image("two")]
    digests = [await world.push(child, Digest.of(child)) for child in children]
    first = await push_index(world, [described(children[0])], Tag("a"))
    second = await push_index(world, [described(children[1])], Tag("b"))
    world.clock.advance(days=40)
    today = world.clock.now.date()
    days: dict[tuple[str | None, Digest | None], date] = {
        ("b", Digest.of(second)): today - timedelta(days=20),
        (None, digests[0]): today - timedelta(days=10),
    }
    (file := tmp_path / "in-use").write_text(f"{digests[1]}\n")
    retaining = process(world, {"newest_pulled": 1}, pulls=Known(days=days), in_use=[{"file": str(file)}])
    await run(retaining)
    assert await tags(world) == ["a", "b"] and first != second


async def test_an_image_that_runs_is_known_by_its_config_and_at_any_depth(
    world: World, tmp_path: Path
) -> None:
    child = image("child", layers=[b"a layer"])
    await world.push(child, Digest.of(child))
    inner = await push_index(world, [described(child)])
    await push_index(world, [{**described(inner), "mediaType": OCI_INDEX}], Tag("b0"))
    world.clock.advance(days=2)
    await world.push(image("newest"), Tag("b1"))
    world.clock.advance(days=2)
    config = json.loads(child)["config"]["digest"]
    (file := tmp_path / "in-use").write_text(f"{config}\n")
    await run(process(world, {"newest_pushed": 1}, in_use=[{"file": str(file)}]))
    assert await tags(world) == ["b0", "b1"]
