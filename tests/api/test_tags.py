"""Lists of tags (dist-spec: Listing Tags)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Serve
from tests.api.contents import image, index
from tests.api.registry import Repository, next_page
from tests.api.tree import Tree

NAMES = ["1.10", "1.9", "A", "B", "Z", "_", "a", "a-b", "a.b", "a_b", "ab", "b"]


@pytest.fixture
def tagged(repository: Repository) -> Repository:
    """A repository with tags whose byte order is not what a person might think."""
    made = repository.push(index())
    put = repository.put(made, query="?" + "&".join(f"tag={name}" for name in reversed(NAMES[:6])))
    assert put.status == 201
    assert repository.put(made, query="?" + "&".join(f"tag={name}" for name in NAMES[6:])).status == 201
    return repository


def page(repository: Repository, query: str) -> list[str]:
    answer = repository.ask("GET", f"tags/list{query}")
    assert answer.status == 200, answer
    return list(answer.json()["tags"])


def test_all_tags_in_the_order_of_their_bytes(tagged: Repository) -> None:
    """trap 33"""
    assert sorted(NAMES) == NAMES
    answer = tagged.ask("GET", "tags/list")
    assert answer.json() == {"name": tagged.name, "tags": NAMES}
    assert answer.get("Link") is None


def test_fifty_thousand_tags_are_one_answer(serve: Serve, tmp_path: Path) -> None:
    """trap 33"""
    tree = Tree(tmp_path / "data")
    digest = tree.manifest("many", index())
    names = [f"build-{number:05d}" for number in range(50_000)]
    tree.tags("many", names, digest)
    answer = serve(tree.root).repository("many").ask("GET", "tags/list")
    assert answer.get("Link") is None
    assert answer.json()["tags"] == names


@pytest.mark.parametrize("last", ["", "1.9", "2", "Aa", "a", "a/", "zzz", "b", "%00", "%C3%BC", "*"])
def test_what_lies_behind(tagged: Repository, last: str) -> None:
    """trap 31: the place need not exist."""
    plain = {"%00": "\0", "%C3%BC": "ü"}.get(last, last)
    expected = [name for name in NAMES if name.encode() > plain.encode()]
    assert page(tagged, f"?last={last}") == expected
    assert page(tagged, f"?n=2&last={last}") == expected[:2]


def test_paging_goes_on_when_its_place_is_deleted(tagged: Repository) -> None:
    """trap 31"""
    answer = tagged.ask("GET", "tags/list?n=3")
    assert tagged.ask("DELETE", f"manifests/{NAMES[2]}").status == 202
    link = next_page(answer)
    assert link is not None
    assert tagged.registry.ask("GET", link).json()["tags"] == NAMES[3:6]


@pytest.mark.parametrize("n", [1, 2, 5, 11, 12, 13, 1000])
def test_following_the_links_gives_every_tag_once(tagged: Repository, n: int) -> None:
    found: list[str] = []
    target: str | None = tagged.path(f"tags/list?n={n}")
    while target is not None:
        answer = tagged.registry.ask("GET", target)
        tags = answer.json()["tags"]
        target = next_page(answer)
        assert len(tags) == n or target is None
        found += tags
    assert found == NAMES


def test_a_full_last_page_has_no_link(tagged: Repository) -> None:
    assert next_page(tagged.ask("GET", f"tags/list?n={len(NAMES)}")) is None


def test_none_asked_for(tagged: Repository) -> None:
    """trap 32"""
    answer = tagged.ask("GET", "tags/list?n=0")
    assert answer.json() == {"name": tagged.name, "tags": []}
    assert answer.get("Link") is None


@pytest.mark.parametrize("n", ["-1", "abc", "1.5", "0x1", "%D9%A3", "1%0A", "+1", "1%202"])
def test_numbers_that_are_none(tagged: Repository, n: str) -> None:
    """trap 32"""
    assert tagged.ask("GET", f"tags/list?n={n}").refuses(400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("n", ["100000", "9" * 30, "9" * 5000])
def test_numbers_that_are_enormous(tagged: Repository, n: str) -> None:
    """trap 32"""
    assert page(tagged, f"?n={n}") == NAMES


def test_a_repository_that_never_was(repository: Repository) -> None:
    for query in ("", "?n=0", "?n=5", "?last=x"):
        assert repository.ask("GET", f"tags/list{query}").refuses(404, "NAME_UNKNOWN")


def test_the_last_tag_deleted(repository: Repository) -> None:
    repository.push(image(), "only")
    repository.ask("DELETE", "manifests/only")
    document: dict[str, Any] = repository.ask("GET", "tags/list").json()
    assert document == {"name": repository.name, "tags": []}


def test_a_repository_without_tags(repository: Repository) -> None:
    repository.push(image())
    assert repository.tags() == []


def test_head_of_a_list(tagged: Repository) -> None:
    answer = tagged.ask("HEAD", "tags/list")
    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == tagged.ask("GET", "tags/list")["Content-Length"]
