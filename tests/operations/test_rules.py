"""What the operations on content show and take, under rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.core.operations import operations as core_operations
from registry.model.names import RepositoryName, Tag
from registry.upkeep.operations import operations as upkeep_operations
from tests.inmemory import World, image
from tests.operations.asking import Client, KnownNames, api, policy_of

RULES = """
- {who: anonymous, repositories: ['public/**'], may: [pull, list]}
- {who: 'user:alice', repositories: ['team/**'], may: [pull, push, list, delete]}
- {who: 'user:bob', repositories: ['**'], may: [list]}
- {who: 'user:carol', repositories: ['team/**'], may: [pull, delete]}
- {who: 'user:carol', repositories: ['team/app'], tags: ['v*'], deny: [delete]}
- {who: 'user:dora', repositories: ['**'], may: [admin]}
"""


@pytest.fixture
async def world() -> World:
    made = World()
    for name in ("public/base", "team/app", "team/web"):
        await made.push(image(name), Tag("latest"), RepositoryName(name))
    await made.push(image("team/app"), Tag("v1"), RepositoryName("team/app"))
    return made


class Somebody:
    """Asks as somebody by name; as nobody in particular without one."""

    def __init__(self, world: World, folder: Path, deletes: bool = True) -> None:
        table = [
            *core_operations(lambda: world.registry, deletes=deletes),
            *upkeep_operations(lambda: world.registry),
        ]
        self._client = Client(api(table, gate=KnownNames(policy_of(RULES, folder))))

    async def ask(self, who: str, operation: str, /, **document: object) -> tuple[int, dict[str, object]]:
        headers = [("authorization", f"user:{who}")] if who else []
        answer = await self._client.do(operation, headers, **document)
        return answer.status, answer.json()

    async def status(self, who: str, operation: str, /, **document: object) -> int:
        return (await self.ask(who, operation, **document))[0]


@pytest.fixture
def somebody(world: World, tmp_path: Path) -> Somebody:
    return Somebody(world, tmp_path)


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("", ["public/base"]),
        ("alice", ["public/base", "team/app", "team/web"]),
        # Who may list but not pull sees as little as in the catalog.
        ("bob", ["public/base"]),
        ("eve", ["public/base"]),
    ],
)
async def test_a_list_has_what_the_caller_may_list_and_pull(
    somebody: Somebody, who: str, seen: list[str]
) -> None:
    status, document = await somebody.ask(who, "repo.list")
    assert status == 200
    assert document["result"] == {"repositories": seen, "next": None}


async def test_hidden_and_absent_are_answered_alike(somebody: Somebody, world: World) -> None:
    for operation in ("repo.show", "repo.delete", "tag.list"):
        answers = []
        for name in ("team/app", "team/nil"):
            before = world.counted.calls.total()
            status, document = await somebody.ask("eve", operation, repository=name)
            answers.append(
                (status, str(document).replace(name, "NAME"), world.counted.calls.total() - before)
            )
        assert answers[0] == answers[1]
        assert answers[0][0] == 403
        assert answers[0][2] == 0


async def test_nobody_in_particular_is_asked_to_log_in_for_what_others_may(somebody: Somebody) -> None:
    assert await somebody.status("", "tag.list", repository="public/base") == 200
    assert await somebody.status("", "tag.list", repository="team/app") == 401
    assert await somebody.status("", "repo.delete", repository="public/base") == 401
    assert await somebody.status("", "storage.check") == 401
    assert await somebody.status("alice", "repo.delete", repository="public/base") == 403
    assert await somebody.status("alice", "storage.check") == 403
    assert await somebody.status("dora", "storage.check") == 200
    assert await somebody.status("dora", "repo.delete", repository="public/base") == 403


async def test_a_repository_with_a_tag_that_may_not_go_stays_whole(somebody: Somebody, world: World) -> None:
    before = await world.keys()
    for dry_run in (True, False):
        status, document = await somebody.ask("carol", "repo.delete", repository="team/app", dry_run=dry_run)
        assert status == 403
        assert document["errors"] == [
            {
                "code": "DENIED",
                "message": "you may not delete these tags of team/app, so nothing was removed: v1 (access"
                " rule 5 (line 6) denies it: user:carol to delete team/app:v1)",
                "detail": {"action": "delete", "name": "team/app", "tags": ["v1"]},
            }
        ]
    assert await somebody.status("carol", "tag.delete", reference="team/app:v1") == 403
    assert await world.keys() == before
    assert await somebody.status("carol", "tag.delete", reference="team/app:latest") == 200
    assert await somebody.status("carol", "repo.delete", repository="team/web") == 200
    assert await somebody.status("alice", "repo.delete", repository="team/app") == 200
    assert await world.store.catalog.holds_content(RepositoryName("public/base"))
    assert not await world.store.catalog.holds_content(RepositoryName("team/app"))


async def test_where_deleting_is_switched_off_it_is_here_too(world: World, tmp_path: Path) -> None:
    somebody = Somebody(world, tmp_path, deletes=False)
    before = await world.keys()
    for operation, document in (
        ("repo.delete", {"repository": "team/app"}),
        ("tag.delete", {"reference": "team/app:v1"}),
    ):
        status, answer = await somebody.ask("alice", operation, **document)
        assert (status, answer["status"]) == (405, "refused")
        assert "delete.enabled" in str(answer["errors"])
    assert await world.keys() == before


async def test_who_removed_a_tag_is_in_its_history(somebody: Somebody, world: World) -> None:
    assert await somebody.status("alice", "tag.delete", reference="team/app:v1") == 200
    keys = await world.store.history.keys(RepositoryName("team/app"), Tag("v1"))
    moves = [await world.store.history.read(key) for key in keys]
    assert [move.by for move in moves if move is not None] == ["tester", "user:alice"]
