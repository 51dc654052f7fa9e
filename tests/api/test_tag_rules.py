"""Tags that some may create and not move, or not delete: what clients are answered, and what stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.api.client import Answer
from tests.api.contents import Manifest, digest_of, image, index
from tests.api.people import Login, add_users, rules_file
from tests.api.registry import Repository
from tests.api.server import Server
from tests.folders import files_below

IMMUTABLE = """\
- {who: anonymous, repositories: ['**'], may: [pull, create]}
- {who: anonymous, repositories: ['**'], tags: [edge, 'sha256-*'], may: [overwrite]}
- {who: anonymous, repositories: ['**'], tags: [reserved], deny: [push]}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two processes on one directory, whose tags are immutable but for a few."""
    folder = tmp_path_factory.mktemp("immutable")
    settings = rules_file(folder, IMMUTABLE)
    first = Server(folder / "data", folder, settings)
    second = Server(folder / "data", folder, settings)
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture
def repository(servers: tuple[Server, Server]) -> Repository:
    """A fresh repository of the first."""
    return servers[0].repository(f"fixed/{os.urandom(6).hex()}")


def tree(server: Server, name: str) -> set[str]:
    """What lies in the store of a repository, its histories and of all intents."""
    paths = map(str, files_below(server.root))
    return {path for path in paths if f"/{name}/" in path or "/intents/" in path}


def test_the_same_again_is_no_overwrite(repository: Repository) -> None:
    made = repository.push(image(), "v1")
    for _ in range(2):
        assert repository.put(made, "v1").status == 201
    assert repository.get("v1").body == made.data
    assert repository.put(made, query="?tag=v1&tag=v2").status == 201
    assert repository.tags() == ["v1", "v2"]


def test_other_content_is_refused_by_a_rule_and_changes_nothing(
    repository: Repository, servers: tuple[Server, Server]
) -> None:
    made, other = repository.push(image(), "v1"), image()
    for blob in other.blobs:
        repository.push_blob(blob)
    before = tree(servers[0], repository.name)
    answer = repository.put(other, "v1")
    assert answer.refuses(403, "DENIED")
    (error,) = answer.json()["errors"]
    assert error["message"] == f"no access rule grants anonymous to overwrite {repository.name}:v1"
    assert error["detail"] == {"action": "overwrite", "name": repository.name, "tag": "v1"}
    assert tree(servers[0], repository.name) == before
    assert repository.get("v1").body == made.data
    assert repository.get(other.digest).status == 404


def test_one_tag_of_several_that_is_taken_refuses_them_all(
    repository: Repository, servers: tuple[Server, Server]
) -> None:
    repository.push(image(), "b")
    before = tree(servers[0], repository.name)
    for query in ("?tag=a&tag=b", "?tag=b&tag=a", "?tag=edge&tag=b"):
        answer = repository.put(index(), query=query)
        assert answer.refuses(403, "DENIED")
        assert answer.json()["errors"][0]["detail"]["tag"] == "b"
    assert tree(servers[0], repository.name) == before
    assert repository.tags() == ["b"]


@pytest.mark.parametrize("tag", ["edge", f"sha256-{'0' * 64}"])
def test_what_a_rule_lets_overwrite_moves(repository: Repository, tag: str) -> None:
    """Clients keep their own lists of signatures under such a tag, and write it again and again."""
    for made in (index(), index()):
        assert repository.put(made, tag).status == 201
        assert repository.get(tag).body == made.data


def test_whoever_may_do_nothing_to_a_tag_is_told_before_the_body(repository: Repository) -> None:
    for target in ("manifests/reserved", f"manifests/{digest_of(b'')}?tag=a&tag=reserved"):
        with repository.registry.connect() as connection:
            connection.begin("PUT", repository.path(target), {"Content-Length": "1000"})
            answer = connection.answer()
        assert answer.refuses(403, "DENIED")
        message = answer.json()["errors"][0]["message"]
        assert message.startswith("access rule 3 (line 3) denies it: anonymous to create "), message


def test_two_processes_that_push_to_one_tag_at_once(
    repository: Repository, servers: tuple[Server, Server]
) -> None:
    both = [server.repository(repository.name) for server in servers]
    gate = threading.Barrier(2)

    def put(number: int, made: Manifest, tag: str) -> Answer:
        gate.wait()
        return both[number].put(made, tag)

    with ThreadPoolExecutor(2) as crowd:
        for turn in range(30):
            made = [index(), index()]
            tag = f"v{turn}"
            answers = list(crowd.map(put, range(2), made, [tag] * 2))
            assert sorted(answer.status for answer in answers) == [201, 403], answers
            won = 0 if answers[0].status == 201 else 1
            assert answers[1 - won].refuses(403, "DENIED")
            for one in both:
                assert one.get(tag).body == made[won].data


DELETES = """\
- {who: user:root, repositories: ['**'], may: [pull, push, delete]}
- {who: user:ada, repositories: ['**'], may: [pull, push, delete]}
- {who: user:ada, repositories: ['**'], tags: ['v*'], deny: [overwrite, delete]}
"""


@dataclass
class House:
    """A server whose people may delete, and one repository of it."""

    server: Server
    logins: dict[str, Login]
    name: str

    def ask(self, who: str, method: str, reference: str, made: Manifest | None = None) -> Answer:
        """A request about a manifest."""
        fields = self.logins[who].basic | ({} if made is None else {"Content-Type": made.media_type})
        target = f"/v2/{self.name}/manifests/{reference}"
        return self.server.registry.ask(method, target, fields, None if made is None else made.data)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with two people."""
    folder = tmp_path_factory.mktemp("deletes")
    logins = add_users(folder / "data", ["root", "ada"])
    server = Server(folder / "data", folder, rules_file(folder, DELETES))
    yield House(server, logins, f"kept/{os.urandom(6).hex()}")
    server.stop()


def test_a_manifest_stays_for_one_tag_that_may_not_be_deleted(house: House) -> None:
    made = index()
    for tag in ("latest", "v1"):
        assert house.ask("ada", "PUT", tag, made).status == 201
    before = tree(house.server, house.name)
    answer = house.ask("ada", "DELETE", made.digest)
    assert answer.refuses(403, "DENIED")
    assert answer.json()["errors"][0]["message"] == (
        f"access rule 3 (line 3) denies it: user:ada to delete {house.name}:v1"
    )
    assert tree(house.server, house.name) == before
    assert house.ask("ada", "DELETE", "v1").refuses(403, "DENIED")
    assert house.ask("ada", "DELETE", "latest").status == 202
    assert house.ask("ada", "DELETE", made.digest).refuses(403, "DENIED")
    assert house.ask("root", "DELETE", made.digest).status == 202
    assert house.ask("ada", "GET", "v1").status == 404


def test_a_manifest_goes_whose_tags_may(house: House) -> None:
    made = index()
    assert house.ask("ada", "PUT", "latest", made).status == 201
    assert house.ask("root", "PUT", "v2", index()).status == 201
    assert house.ask("ada", "DELETE", made.digest).status == 202
    assert house.ask("ada", "GET", "latest").status == 404
    assert house.ask("ada", "GET", "v2").status == 200
