"""The catalog of repositories: not the specification's, and asked for by many tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.contents import image, index
from tests.api.registry import Registry, next_page
from tests.api.server import Server
from tests.api.tree import Tree

# In the order of bytes: `-` `.` `/` digits `_` letters.
NAMES = ["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a_b", "ab", "b", "b/manifests"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A registry with just these repositories."""
    folder = tmp_path_factory.mktemp("catalog")
    return Server(folder / "data", folder)


@pytest.fixture(scope="module")
def listed(small: Server, request: pytest.FixtureRequest) -> Registry:
    request.addfinalizer(small.stop)
    for name in reversed(NAMES):
        small.repository(name).push(index(), "latest")
    small.repository("blobs-only").push_blob(b"no manifest here")
    return small.registry


def page(registry: Registry, query: str) -> list[str]:
    answer = registry.ask("GET", f"/v2/_catalog{query}")
    assert answer.status == 200, answer
    return list(answer.json()["repositories"])


def test_every_repository_with_a_manifest_in_the_order_of_bytes(listed: Registry) -> None:
    assert sorted(NAMES) == NAMES
    answer = listed.ask("GET", "/v2/_catalog")
    assert answer.json() == {"repositories": NAMES}
    assert answer.get("Link") is None


@pytest.mark.parametrize("n", ["100000", "9" * 30, "10", "11"])
def test_numbers_that_are_large(listed: Registry, n: str) -> None:
    """trap 84"""
    answer = listed.ask("GET", f"/v2/_catalog?n={n}")
    assert (answer.status, answer.json()["repositories"], answer.get("Link")) == (200, NAMES, None)


def test_a_page_is_cut_at_the_maximum_and_says_where_it_goes_on(serve: Serve, tmp_path: Path) -> None:
    """trap 84"""
    tree = Tree(tmp_path / "data")
    names = [f"r{number:05d}" for number in range(120)]
    empty = index()
    for name in names:
        tree.manifest(name, empty, "latest")
    server = serve(tree.root, {"catalog": {"max_entries": 50}})
    server.command("storage", "reindex")
    found: list[str] = []
    target: str | None = "/v2/_catalog?n=100000"
    pages = 0
    while target is not None:
        answer = server.registry.ask("GET", target)
        found += answer.json()["repositories"]
        target = next_page(answer)
        pages += 1
    assert found == names
    assert pages == 3


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 11])
def test_following_the_links_gives_every_repository_once(listed: Registry, n: int) -> None:
    found: list[str] = []
    target: str | None = f"/v2/_catalog?n={n}"
    while target is not None:
        answer = listed.ask("GET", target)
        found += answer.json()["repositories"]
        target = next_page(answer)
    assert found == NAMES


@pytest.mark.parametrize("last", ["", "a", "a-", "a/", "a/b", "a00", "zzz", "Z", "%C3%BC", "%00", "a%0A"])
def test_what_lies_behind(listed: Registry, last: str) -> None:
    plain = {"%C3%BC": "ü", "%00": "\0", "a%0A": "a\n"}.get(last, last)
    expected = [name for name in NAMES if name.encode() > plain.encode()]
    assert page(listed, f"?last={last}") == expected
    assert page(listed, f"?n=2&last={last}") == expected[:2]


def test_none_asked_for(listed: Registry) -> None:
    answer = listed.ask("GET", "/v2/_catalog?n=0")
    assert (answer.json(), answer.get("Link")) == ({"repositories": []}, None)


@pytest.mark.parametrize("n", ["-1", "abc", "1.5", "%D9%A3", "+1"])
def test_numbers_that_are_none(listed: Registry, n: str) -> None:
    assert listed.ask("GET", f"/v2/_catalog?n={n}").refuses(400, "PAGINATION_NUMBER_INVALID")


def test_a_repository_stays_listed_without_tags(serve: Serve) -> None:
    server = serve()
    repository = server.repository("emptied")
    made = repository.push(image(), "latest")
    repository.ask("DELETE", f"manifests/{made.digest}")
    assert page(server.registry, "") == ["emptied"]
    assert repository.tags() == []


def test_a_tree_of_distribution_is_listed(serve: Serve, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for name in NAMES:
        tree.manifest(name, image(), "latest")
    server = serve(tree.root)
    server.command("storage", "reindex")
    answer = server.registry.ask("GET", "/v2/_catalog")
    assert answer.json()["repositories"] == NAMES
