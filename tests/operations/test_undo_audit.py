"""What the audit trail has of restores and copies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from registry.access.audit import Audit, audited
from registry.access.audit.kept import Asked, AuditStore
from registry.core.pushes import Pushed
from registry.core.tag_operations import operations as tag_operations
from registry.core.trash_operations import operations as trash_operations
from registry.errors import Denied, ReadOnly, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Context
from tests.access.audit.lines import Lines, trail
from tests.inmemory import NAME, TAG, World, image

PROD = RepositoryName("team/prod")
OLD, NEW = (Digest.of(image(note)) for note in ("old", "new"))


class Scene:
    """A registry whose operations are audited as both doors offer them."""

    def __init__(self) -> None:
        self.world = World()
        self.sink = Lines()
        kept = AuditStore(self.world.store.driver, self.world.store.effects, self.world.registry)
        self.audit = Audit(trail(self.sink), kept)
        table = [
            *tag_operations(lambda: self.world.registry),
            *trash_operations(lambda: self.world.registry, timedelta(days=7)),
        ]
        self._table = {one.name: audited(one, lambda: self.audit) for one in table}

    async def do(self, name: str, **asked: Any) -> list[dict[str, Any]]:
        """The lines that it left in the trail."""
        before = len(self.sink.lines)
        operation = self._table[name]
        async for _ in operation.run(operation.input(**asked), Context("user:alice")):
            pass
        return self.sink.lines[before:]

    async def kept(self) -> list[tuple[str, str]]:
        """Event and outcome of what is kept."""
        found, _ = await self.audit.kept.list(Asked(), limit=100)
        return [(one.entry.event, one.entry.outcome) for one in found if one.entry]


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await made.world.push(image("old"))
    made.world.clock.advance(seconds=1)
    await made.world.push(image("new"))
    return made


def told(lines: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    fields = ("event", "repository", "tag", "digest", "replaced")
    return [
        tuple(line.get(field, "") for field in fields) for line in lines if line["event"] != "audit.begun"
    ]


async def test_a_restore_over_a_tag_says_so_twice(scene: Scene) -> None:
    lines = await scene.do("tag.restore", reference=f"team/app:latest@{OLD}")
    moved = ("team/app", "latest", str(OLD), str(NEW))
    assert told(lines) == [("tag.restored", *moved), ("tag.overwritten", *moved)]
    # It names that already: nothing was moved.
    lines = await scene.do("tag.restore", reference=f"team/app:latest@{OLD}")
    assert told(lines) == [("tag.restored", "team/app", "latest", str(OLD), str(OLD))]


async def test_a_copy_says_what_it_set(scene: Scene) -> None:
    signature = Tag(f"sha256-{NEW.encoded}.sig")
    signed = await scene.world.push(image("signature"), signature)
    lines = await scene.do("tag.copy", source="team/app:latest", target="team/prod:1.0")
    assert told(lines) == [
        ("tag.copied", "team/prod", "1.0", str(NEW), ""),
        ("tag.created", "team/prod", "1.0", str(NEW), ""),
        ("tag.created", "team/prod", str(signature), str(signed), ""),
    ]
    lines = await scene.do("tag.copy", source=f"team/app@{OLD}", target="team/prod:1.0")
    moved = ("team/prod", "1.0", str(OLD), str(NEW))
    assert told(lines) == [("tag.copied", *moved), ("tag.overwritten", *moved)]


async def test_a_run_that_was_restored_is_told_with_its_repository(scene: Scene) -> None:
    await scene.world.registry.door.remove_repository(NAME, "somebody")
    run = await scene.world.registry.restoring.newest_deletion(NAME)
    assert run is not None
    lines = await scene.do("trash.restore", run=run.name)
    assert told(lines) == [
        ("trash.restored", "team/app", "", "", ""),
        ("tag.created", "team/app", "latest", str(NEW), ""),
    ]


@pytest.mark.parametrize("error", [ReadOnly(), Denied("somebody has just set it")])
async def test_what_fails_half_way_is_kept_as_failed(
    scene: Scene, error: RegistryError, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.world.registry.door.remove_repository(NAME, "somebody")
    push, first = scene.world.registry.pushes.push, True

    async def only_once(*arguments: Any) -> Pushed:
        nonlocal first
        if not first:
            raise error
        first = False
        return await push(*arguments)

    monkeypatch.setattr(scene.world.registry.pushes, "push", only_once)
    with pytest.raises(type(error), match="what was done before that stays"):
        await scene.do("repo.restore", repository=NAME)
    assert await scene.kept() == [("repository.restored", "failed")]
    assert scene.sink.lines[-1]["outcome"] == "failed"


async def test_what_is_refused_before_anything_was_done_leaves_nothing(scene: Scene) -> None:
    with pytest.raises(RegistryError):
        await scene.do("tag.restore", reference=f"team/app:x@{Digest.of(b'layer')}")
    assert await scene.kept() == []
    assert await scene.world.store.links.tags(NAME) == [TAG]
