# ruff: noqa: RUF009 (argument() and option() make dataclass fields)
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import pytest

from registry.access.audit import Audit, Entry, audited
from registry.access.audit.kept import Asked, AuditStore
from registry.errors import ManifestUnknown, NameInvalid, ReadOnly, StorageDamaged
from registry.model.names import RepositoryName
from registry.store import layout
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option
from storage.errors import OutOfSpace, StorageError, Unavailable
from tests.access.audit.lines import Lines, trail
from tests.inmemory import World
from tests.storage.faulty import FaultyDriver

FULL = OutOfSpace("k", "no room left on the disk")
ENTRY = Entry("tag.deleted", who="user:alice", repository="team/app", tag="1")
CONTEXT = Context("user:alice", address="10.0.0.9", via="token", agent="curl", rule="access rule 1 grants it")


class Scene:
    """A trail in memory and a store that may fail."""

    def __init__(self) -> None:
        self.world = World()
        self.driver = FaultyDriver(self.world.driver)
        self.sink = Lines()
        kept = AuditStore(self.driver, self.world.store.effects, self.world.registry)
        self.audit = Audit(trail(self.sink), kept)

    async def kept(self) -> list[tuple[str, str, str]]:
        """Event, outcome and detail of what is kept."""
        found, _ = await self.audit.kept.list(Asked(), limit=100)
        return [(one.entry.event, one.entry.outcome, one.entry.detail) for one in found if one.entry]

    @property
    def noted(self) -> list[tuple[Any, Any]]:
        """Event and outcome of what was noted behind the first line."""
        return [(line["event"], line["outcome"]) for line in self.sink.lines[1:]]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_what_is_done_is_kept_as_begun_first_and_as_done_then(scene: Scene) -> None:
    async with scene.audit.doing(ENTRY) as deed:
        assert await scene.kept() == [("tag.deleted", "begun", "")]
        assert scene.noted == []
        deed.complete(digest="sha256:x", detail="more")
        deed.further = (Entry("tag.deleted", tag="2"),)
    assert await scene.kept() == [("tag.deleted", "done", "more")]
    assert scene.noted == [("tag.deleted", "done"), ("tag.deleted", "done")]
    assert scene.sink.lines[1]["digest"] == "sha256:x"


@pytest.mark.parametrize(
    "error", [FULL, Unavailable("k", "no answer")], ids=lambda error: type(error).__name__
)
async def test_what_cannot_be_written_down_is_not_done(scene: Scene, error: StorageError) -> None:
    scene.driver.fail("put", error, key=lambda key: key.startswith(layout.AUDIT))
    done = False
    with pytest.raises(type(error)):
        async with scene.audit.doing(ENTRY):
            done = True
    assert not done
    assert (await scene.kept(), scene.noted) == ([], [])


async def test_nothing_is_done_while_nothing_may_be_written(scene: Scene) -> None:
    scene.world.registry.read_only = True
    with pytest.raises(ReadOnly):
        async with scene.audit.doing(ENTRY):
            raise AssertionError("it was done")
    assert (await scene.kept(), scene.noted) == ([], [])


@pytest.mark.parametrize("error", [ManifestUnknown(), ReadOnly()], ids=lambda error: type(error).__name__)
async def test_what_was_refused_was_not_done_and_nothing_is_kept(scene: Scene, error: Exception) -> None:
    with pytest.raises(type(error)):
        async with scene.audit.doing(ENTRY):
            raise error
    assert (await scene.kept(), scene.noted) == ([], [])


@pytest.mark.parametrize(
    "error", [StorageDamaged("broken"), Unavailable("k", "broken")], ids=["ours", "storage's"]
)
async def test_what_failed_half_way_is_kept_as_failed_and_why(scene: Scene, error: Exception) -> None:
    with pytest.raises(type(error)):
        async with scene.audit.doing(ENTRY):
            raise error
    ((event, outcome, detail),) = await scene.kept()
    assert (event, outcome) == ("tag.deleted", "failed")
    assert "broken" in detail
    assert scene.noted == [("tag.deleted", "failed")]


@pytest.mark.parametrize(
    "error",
    [KeyError("a defect"), asyncio.CancelledError(), GeneratorExit()],
    ids=["defect", "cut off", "left"],
)
async def test_what_was_cut_off_stays_as_begun(scene: Scene, error: BaseException) -> None:
    calls = len(scene.driver.calls)
    with pytest.raises(type(error)):
        async with scene.audit.doing(ENTRY):
            calls = len(scene.driver.calls)
            raise error
    assert len(scene.driver.calls) == calls, "whoever is cut off waits for nothing"
    assert await scene.kept() == [("tag.deleted", "begun", "")]
    assert scene.noted == [("tag.deleted", "begun")]


async def test_what_was_done_is_done_though_its_end_cannot_be_kept(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.driver.fail("put", FULL, skip=1)
    async with scene.audit.doing(ENTRY):
        pass
    assert await scene.kept() == [("tag.deleted", "begun", "")]
    assert scene.noted == [("tag.deleted", "done")]
    assert [record.msg for record in caplog.records if record.levelno == logging.ERROR] == [
        "audit.unfinished"
    ]


async def test_what_was_not_done_and_cannot_be_forgotten_stays_as_begun(scene: Scene) -> None:
    scene.driver.fail("delete", FULL)
    with pytest.raises(ManifestUnknown):
        async with scene.audit.doing(ENTRY):
            raise ManifestUnknown
    assert await scene.kept() == [("tag.deleted", "begun", "")]


class Color(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Paint:
    """What an operation takes."""

    repository: RepositoryName = argument("where")
    names: tuple[str, ...] = option("names", default=())
    color: Color = option("a color", default=Color.RED)
    strong: bool = option("strong", default=False)
    new_password: str = option("a password", secret=True)
    old_token: str | None = option("what should have been a secret", default=None)


def painting(status: Status = Status.DONE, error: Exception | None = None) -> Any:
    """An operation."""

    async def run(_: Any, context: Context) -> AsyncIterator[Progress | Result]:
        yield Progress(1)
        if error is not None:
            raise error
        yield Result(context.dry_run, status)

    return Operation(
        "wall.paint",
        "Paint.",
        "admin",
        True,
        Paint,
        run,
        event="access.changed",
        touches=lambda asked: (asked.repository, None),
        result=bool,
    )


async def steps(operation: Operation[Any], asked: object, context: Context = CONTEXT) -> list[object]:
    """What an operation yields."""
    return [step async for step in operation.run(asked, context)]


async def test_an_operation_is_kept_and_noted_with_what_it_was_asked(scene: Scene) -> None:
    operation = audited(painting(), lambda: scene.audit)
    secret = "not-to-be-seen"
    asked = Paint(
        RepositoryName("team/app"),
        ("a", "b"),
        Color.BLUE,
        strong=True,
        new_password=secret,
        old_token=secret,
    )
    assert await steps(operation, asked) == [Progress(1), Result(False)]
    (line,) = scene.sink.lines[1:]
    assert {
        name: line[name] for name in ("who", "address", "via", "agent", "rule", "repository", "outcome")
    } == {
        "who": "user:alice",
        "address": "10.0.0.9",
        "via": "token",
        "agent": "curl",
        "rule": "access rule 1 grants it",
        "repository": "team/app",
        "outcome": "done",
    }
    assert (
        line["detail"]
        == "wall paint: names a b, color blue, strong, new_password [hidden], old_token [hidden]"
    )
    assert await scene.kept() == [("access.changed", "done", line["detail"])]


async def test_the_result_comes_when_it_is_kept(scene: Scene) -> None:
    async for step in audited(painting(), lambda: scene.audit).run(
        Paint(RepositoryName("a"), new_password="p"), CONTEXT
    ):
        outcome = (await scene.kept())[0][1]
        assert outcome == ("done" if isinstance(step, Result) else "begun")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.DONE, "done"),
        (Status.FAILED, "failed"),
        (Status.REFUSED, "refused"),
        (Status.DAMAGED, "done"),
    ],
)
async def test_how_an_operation_ended_is_kept(scene: Scene, status: Status, outcome: str) -> None:
    await steps(audited(painting(status), lambda: scene.audit), Paint(RepositoryName("a"), new_password="p"))
    assert [kept[1] for kept in await scene.kept()] == [outcome]


async def test_a_dry_run_changes_nothing_and_nothing_is_kept(scene: Scene) -> None:
    operation = audited(painting(), lambda: scene.audit)
    found = await steps(
        operation, Paint(RepositoryName("a"), new_password="p"), Context("operator", dry_run=True)
    )
    assert found == [Progress(1), Result(True)]
    assert (await scene.kept(), scene.sink.lines) == ([], [])


async def test_an_operation_that_cannot_be_written_down_does_nothing(scene: Scene) -> None:
    scene.driver.fail("put", FULL)
    with pytest.raises(OutOfSpace):
        await steps(
            audited(painting(error=AssertionError("run")), lambda: scene.audit),
            Paint(RepositoryName("a"), new_password="p"),
        )


async def test_an_operation_that_fails_is_kept_as_failed(scene: Scene) -> None:
    with pytest.raises(OutOfSpace):
        await steps(
            audited(painting(error=FULL), lambda: scene.audit), Paint(RepositoryName("a"), new_password="p")
        )
    assert [kept[1] for kept in await scene.kept()] == ["failed"]


async def test_what_names_nothing_is_not_begun(scene: Scene) -> None:
    def touches(_: Any) -> Any:
        raise NameInvalid

    operation = audited(replace(painting(error=AssertionError("run")), touches=touches), lambda: scene.audit)
    with pytest.raises(NameInvalid):
        await steps(operation, Paint(RepositoryName("a"), new_password="p"))
    assert (await scene.kept(), scene.sink.lines) == ([], [])


def test_what_changes_nothing_is_left_as_it_is(scene: Scene) -> None:
    async def run(_: Any, __: Context) -> AsyncIterator[Progress | Result]:
        yield Result(None)

    operation = Operation("wall.look", "Look.", "pull", False, Paint, run, result=bool)
    assert audited(operation, lambda: scene.audit) is operation


def test_an_event_that_the_trail_does_not_know_is_a_defect(scene: Scene) -> None:
    async def run(_: Any, __: Context) -> AsyncIterator[Progress | Result]:
        yield Result(None)

    operation = Operation("wall.burn", "Burn.", "pull", True, Paint, run, event="wall.burnt", result=bool)
    with pytest.raises(ValueError, match="wall"):
        audited(operation, lambda: scene.audit)
