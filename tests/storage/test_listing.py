"""What a listing of a real directory shows, hides and tidies."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from storage.errors import Forbidden
from storage.local import LocalDriver
from tests.storage.probing import walked
from tests.storage.watched import Call, WatchedFiles, failing

DAY = 24 * 3600.0
NOW = 2_000_000_000.0


@pytest.fixture
def files() -> WatchedFiles:
    return WatchedFiles()


@pytest.fixture
async def driver(tmp_path: Path, files: WatchedFiles) -> AsyncIterator[LocalDriver]:
    driver = LocalDriver(tmp_path, files=files, now=lambda: NOW)
    yield driver
    await driver.aclose()


def make(path: Path, modified_at: float = NOW) -> None:
    """A file of a certain age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (modified_at, modified_at))


async def test_however_deep_directories_are_nested_the_rest_is_listed(
    tmp_path: Path, driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deeper than Python calls itself, and than a path may be long: others may have made them."""
    make(tmp_path / "b/key")
    monkeypatch.chdir(tmp_path)
    for _ in range(2100):
        os.mkdir("a")
        os.chdir("a")
    make(Path("key"))
    os.chdir(tmp_path)
    try:
        assert [key for key in await walked(driver, "") if len(key) < 4000] == ["b/key"]
        assert await driver.children("") == ["a", "b"]
    finally:
        # Python removes no tree as deep as that.
        subprocess.run(["rm", "-r", str(tmp_path / "a")], check=True)


async def test_unfinished_objects_are_hidden_and_the_old_ones_removed(
    tmp_path: Path, driver: LocalDriver
) -> None:
    make(tmp_path / "a/.tmp-new", NOW - DAY + 1)
    make(tmp_path / "a/.tmp-old", NOW - DAY - 1)
    make(tmp_path / "a/key", NOW - 9 * DAY)
    assert await walked(driver, "") == ["a/key"]
    assert sorted(os.listdir(tmp_path / "a")) == [".tmp-new", "key"]
    make(tmp_path / "a/.tmp-old", NOW - DAY - 1)
    assert await driver.children("a") == ["key"]
    assert sorted(os.listdir(tmp_path / "a")) == [".tmp-new", "key"]


async def test_a_listing_does_not_fail_for_an_old_one_that_stays(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles
) -> None:
    make(tmp_path / ".tmp-old", NOW - 2 * DAY)
    make(tmp_path / "key")
    (tmp_path / ".tmp-directory").mkdir()
    os.utime(tmp_path / ".tmp-directory", (0, 0))
    files.before = failing(30, "unlink")
    assert await walked(driver, "") == ["key"]
    assert (tmp_path / ".tmp-old").exists()


async def test_a_directory_with_unfinished_objects_alone_is_no_child(
    tmp_path: Path, driver: LocalDriver
) -> None:
    make(tmp_path / "a/.tmp-new")
    (tmp_path / "b").mkdir()
    make(tmp_path / "c/d/e")
    assert await driver.children("") == ["c"]
    assert await driver.children("", limit=1) == ["c"]


async def test_neighbours_that_are_alike_cost_one_look_each_and_others_are_searched(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles
) -> None:
    for number in range(10):
        make(tmp_path / f"tags/{number}/current/link")
    (tmp_path / "tags/3/current/link").unlink()
    (tmp_path / "tags/5/current/link").rename(tmp_path / "tags/5/other")
    (tmp_path / "tags/7/current/link").unlink()
    (tmp_path / "tags/7/current/link").mkdir()
    assert await driver.children("tags") == ["0", "1", "2", "4", "5", "6", "8", "9"]
    searched = {Path(path).relative_to(tmp_path).parts[:2] for path in files.given("scan")}
    assert searched == {("tags",), ("tags", "0"), ("tags", "3"), ("tags", "5"), ("tags", "6"), ("tags", "7")}


async def test_names_that_no_key_can_have_are_hidden(tmp_path: Path, driver: LocalDriver) -> None:
    for name in ("lost+found/x", "with space", "ümlaut/x", "key", "...", "~"):
        make(tmp_path / name)
    make(Path(os.fsdecode(os.fsencode(tmp_path) + b"/not-utf8-\xff")))
    assert await walked(driver, "") == ["...", "key"]
    assert await driver.children("") == ["...", "key"]


async def test_links_of_the_operator_are_followed_and_broken_ones_hidden(
    tmp_path: Path, driver: LocalDriver
) -> None:
    root = tmp_path
    make(root / "real/x")
    (root / "linked").symlink_to(root / "real")
    (root / "file").symlink_to(root / "real/x")
    (root / "broken").symlink_to(root / "missing")
    (root / "loop").symlink_to(root / "loop")
    assert await walked(driver, "") == ["file", "linked/x", "real/x"]
    assert await driver.children("") == ["file", "linked", "real"]


async def test_links_that_lead_back_to_where_they_lie_are_not_followed(
    tmp_path: Path, driver: LocalDriver
) -> None:
    make(tmp_path / "a/b/x")
    make(tmp_path / "c/y")
    for link, target in (
        ("a/self", "a"),
        ("a/b/up", "a"),
        ("a/b/again", "a"),
        ("a/b/root", "."),
        ("a/c", "c"),
        ("c/a", "a"),
    ):
        (tmp_path / link).symlink_to(tmp_path / target)
    (tmp_path / "empty").mkdir()
    for name in ("one", "two"):
        (tmp_path / "empty" / name).symlink_to(tmp_path / "empty")
    found = []
    async with aclosing(driver.walk("")) as keys:
        async for key in keys:
            found.append(key)
            # Followed, there would be no end of them.
            assert found == ["a/b/x", "a/c/y", "c/a/b/x", "c/y"][: len(found)]
    assert len(found) == 4
    assert await driver.children("") == ["a", "c"]
    assert await driver.children("a") == ["b", "c"]


async def test_a_walk_does_not_list_what_lies_before(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles
) -> None:
    for name in ("a/a/x", "a/b/x", "b/a/x", "b/b/x", "c/x"):
        make(tmp_path / name)
    assert await walked(driver, "", "b/a/x") == ["b/b/x", "c/x"]
    assert files.given("scan") == [str(tmp_path / part) for part in ("", "b", "b/a", "b/b", "c")]


async def test_a_walk_lists_only_as_far_as_it_is_followed(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles
) -> None:
    for number in range(3000):
        make(tmp_path / f"d{number // 1000}/{number:05}")
    walk = driver.walk("")
    assert await anext(walk) == "d0/00000"
    assert str(tmp_path / "d0") in files.given("scan")
    assert str(tmp_path / "d2") not in files.given("scan")
    await walk.aclose()


async def test_a_directory_that_may_not_be_read_is_an_error(driver: LocalDriver, files: WatchedFiles) -> None:
    """Nobody takes a part for the whole unawares; who goes on past it, as collections do, says so."""
    files.before = failing(13, "scan")
    with pytest.raises(Forbidden):
        await driver.children("")
    with pytest.raises(Forbidden):
        await walked(driver, "")


@pytest.mark.parametrize("threads", [False, True])
async def test_who_may_not_read_a_directory_is_told_which(
    tmp_path: Path, driver: LocalDriver, files: WatchedFiles, threads: bool
) -> None:
    for key in ("a/b/key", "a/c/key", "a/d/key"):
        make(tmp_path / key)
    path = str(tmp_path / "a/c")

    def before(call: Call) -> None:
        if call.name == "scan" and call.arguments == (path,):
            raise PermissionError(errno.EACCES, "Permission denied", path)

    files.before = before
    if threads:
        for _ in range(20):
            driver._patience.took(driver._patience.clock() - 1)
        assert driver.reading_aside
    walk = driver.walk("")
    assert await anext(walk) == "a/b/key"
    with pytest.raises(Forbidden) as told:
        await anext(walk)
    assert told.value.key == "a/c"
    # And whoever wants to can go on behind it.
    assert [key async for key in driver.walk("", after="a/c0")] == ["a/d/key"]


async def test_links_that_lead_out_are_told_with_where_to(tmp_path: Path, files: WatchedFiles) -> None:
    root, other = tmp_path / "store", tmp_path / "store2"
    make(root / "a/key")
    make(other / "b/key")
    (root / "a/out").symlink_to(other / "b/key")
    (root / "disk").symlink_to(other)
    (root / "broken").symlink_to(tmp_path / "nothing")
    (root / "up").symlink_to("..")
    (root / "a/within").symlink_to(root / "a/key")
    (root / "again").symlink_to(root / "a")
    (root / "round").symlink_to(root)
    (other / "b/further").symlink_to(tmp_path)
    make(root / "closed/key")

    def before(call: Call) -> None:
        if call.name == "scan" and call.arguments == (str(root / "closed"),):
            raise PermissionError(errno.EACCES, "Permission denied", str(root / "closed"))

    files.before = before
    driver = LocalDriver(root, files=files)
    try:
        assert sorted([one async for one in driver.leading_out()]) == [
            ("a/out", str(other / "b/key")),
            ("broken", str(tmp_path / "nothing")),
            ("disk", str(other)),
            ("up", str(tmp_path)),
        ]
    finally:
        await driver.aclose()
