"""The crash test that a user runs: what it finds, what it says, and that it leaves everything as it was."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from registry.app.opening import open_scratch
from registry.core.registry import Registry
from registry.errors import Unsupported
from registry.upkeep.crash import report
from registry.upkeep.crash.deaths import Failed, Opening
from registry.upkeep.crash.report import CrashTested, Place, crash_test
from registry.upkeep.operations import operations
from registry.work.operations import Context, Progress, Result, Status
from storage.files import Files
from storage.trial import Trial, mounted, try_out_durability
from tests.api.server import environment, moorage
from tests.durability.reader import tree_of
from tests.e2e.processes import run

pytestmark = pytest.mark.exhaustive

ACT = "delete a tag"
WELL = Trial("ext4", 0.001, [])


@pytest.fixture(autouse=True)
def _on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary directories may lie in memory, which the test is there to find out."""
    monkeypatch.setattr(report, "try_out_durability", lambda *_: WELL)


async def held(root: Path, opening: Opening = open_scratch) -> tuple[list[Progress], Result, CrashTested]:
    """The crash test of one act."""
    steps = [step async for step in crash_test(Place(str(root), opening), [ACT])]
    *progress, result = steps
    assert isinstance(result, Result)
    assert isinstance(result.value, CrashTested)
    return [step for step in progress if isinstance(step, Progress)], result, result.value


@pytest.mark.e2e
async def test_a_sound_registry_loses_nothing(tmp_path: Path) -> None:
    async with open_scratch(str(tmp_path), Files()) as registry:
        await registry.store.marks.put_format()
    before = tree_of(tmp_path), sorted(os.listdir(tmp_path))
    progress, result, value = await held(tmp_path)
    assert result.status is Status.DONE
    assert value.problems == []
    assert value.kills > 20
    assert [step.done for step in progress] == list(range(1, value.kills + 1))
    assert (tree_of(tmp_path), sorted(os.listdir(tmp_path))) == before
    told = value.told()
    assert "nothing acknowledged was lost" in told
    assert told.count("not shown: ") == 2


@asynccontextmanager
async def open_careless(root: str, files: Files) -> AsyncIterator[Registry]:
    """A registry that lets a tag go a little later than it says."""
    async with open_scratch(root, files) as registry:
        remove, later = registry.door.remove_tag, []

        async def soon(*arguments: Any) -> None:
            later.append(arguments)

        registry.door.remove_tag = soon  # type: ignore[method-assign,assignment]
        yield registry
        for arguments in later:
            await remove(*arguments)


@pytest.mark.e2e
async def test_what_a_careless_registry_loses_is_told(tmp_path: Path) -> None:
    _, result, value = await held(tmp_path, open_careless)
    assert result.status is Status.DAMAGED
    assert value.problems[0].when.startswith(f"{ACT}, killed at file call ")
    assert "tag rehearsal/old moving: is sha256:" in value.problems[0].problem
    assert value.problems[0].problem in value.told()
    assert os.listdir(tmp_path) == []


@asynccontextmanager
async def open_failing(root: str, files: Files) -> AsyncIterator[Registry]:
    """A registry that cannot do it at all."""
    async with open_scratch(root, files) as registry:
        registry.deletes = False
        yield registry


async def test_a_registry_that_fails_is_no_sound_one(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=f"{ACT} failed"):
        await held(tmp_path, open_failing)
    assert os.listdir(tmp_path) == []


async def test_a_file_system_in_memory_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lies = "tmpfs lies in memory"
    monkeypatch.setattr(report, "try_out_durability", lambda *_: Trial("tmpfs", 0.0, [lies]))
    progress, result, value = await held(tmp_path)
    assert (progress, result.status, value.kills) == ([], Status.DAMAGED, 0)
    assert [found.problem for found in value.problems] == [lies]


async def test_a_sync_that_takes_no_time_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "try_out_durability", lambda *_: Trial("xfs", 1e-6, []))
    _, result, value = await held(tmp_path)
    assert result.status is Status.DAMAGED
    assert "a sync returns at once" in value.told()


async def test_what_an_earlier_test_left_goes_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "try_out_durability", lambda *_: Trial("tmpfs", 0.0, ["no disk"]))
    for name in ("old", "young"):
        (tmp_path / f".tmp-crash-{name}/base").mkdir(parents=True)
    os.utime(tmp_path / ".tmp-crash-old", (0, 0))
    await held(tmp_path)
    assert os.listdir(tmp_path) == [".tmp-crash-young"]


async def test_without_a_disk_there_is_nothing_to_test() -> None:
    def no_registry() -> Registry:
        raise AssertionError

    check = next(one for one in operations(no_registry) if one.name == "storage.check")
    with pytest.raises(Unsupported):
        [step async for step in check.run(check.input(crash=True), Context("operator"))]
    assert check.needs_store(check.input()) and not check.needs_store(check.input(crash=True))


def test_a_file_system_is_tried_out(tmp_path: Path) -> None:
    found = try_out_durability(tmp_path, Files())
    assert found.sync_seconds > 0
    assert not [wrong for wrong in found.wrong if "renames" in wrong]
    (tmp_path / "renamed").unlink()
    assert os.listdir(tmp_path) == []


def test_renames_that_are_none_are_seen(tmp_path: Path) -> None:
    class Copying(Files):
        def rename(self, source: str, path: str) -> None:
            data = Path(source).read_bytes()
            Path(path).unlink()
            for _ in range(20):
                assert not Path(path).exists()
            Path(path).write_bytes(data)
            Path(source).unlink()

    (wrong,) = [wrong for wrong in try_out_durability(tmp_path, Copying()).wrong if "renames" in wrong]
    assert "missing or torn" in wrong


def test_what_is_mounted_where_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        "23 22 0:21 / /data rw - xfs /dev/sdb rw,nobarrier",
        "24 22 0:22 / /data rw - tmpfs none rw",
        r"25 22 0:23 / /with\040blank rw - btrfs /dev/sdc rw",
    ]
    (tmp_path / "mounts").write_text("\n".join(lines))
    monkeypatch.setattr("storage.trial._MOUNTS", str(tmp_path / "mounts"))
    assert mounted(Path("/data/x"))[0] == "tmpfs"
    assert mounted(Path("/database"))[0] == "ext4"
    assert mounted(Path("/with blank/x"))[0] == "btrfs"
    (tmp_path / "mounts").write_text(lines[0] + "\n" + lines[1])
    assert mounted(Path("/data")) == ("xfs", frozenset({"rw", "nobarrier"}))


def test_what_cannot_be_tested_is_refused(tmp_path: Path) -> None:
    absent = moorage("storage", "check", "--crash", "--root", str(tmp_path / "absent"), code=1)
    assert f"there is no directory {tmp_path}/absent" in absent.err
    both = moorage("storage", "check", "--crash", "--hash-blobs", "--root", str(tmp_path), code=3)
    assert "looks at no content" in both.err
    assert os.listdir(tmp_path) == []


def test_a_directory_in_memory_is_told_to_be_one() -> None:
    memory = next((Path(path) for path in ("/dev/shm", "/run") if mounted(Path(path))[0] == "tmpfs"), None)
    assert memory is not None, "this machine has no file system in memory"
    with tempfile.TemporaryDirectory(dir=memory) as root:
        ended = moorage("storage", "check", "--crash", "--json", "--root", root, code=4)
        value = json.loads(ended.out)
        assert value["file_system"] == "tmpfs"
        assert value["problems"][0]["problem"] == "tmpfs lies in memory: a power cut takes everything"
        assert os.listdir(root) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_file_system_of_this_machine_is_tested(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "registry.cli",
        "storage",
        "check",
        "--crash",
        "--json",
        "--root",
        tmp_path,
    ]
    ended = run(command, environ=environment(), code=None, deadline_seconds=3600)
    value = json.loads(ended.out)
    assert (ended.code, value["problems"]) == (0, []) or value["file_system"] == "tmpfs"
    assert value["kills"] > 300 or value["file_system"] == "tmpfs"
    assert len(ended.err.splitlines()) >= value["kills"]
    assert os.listdir(tmp_path) == []
