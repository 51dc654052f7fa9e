"""Blobs mounted from another repository (dist-spec: Mounting a blob from another repository)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.contents import digest_of, random_digest
from tests.api.registry import Repository


def mount(target: Repository, digest: str, source: str) -> Answer:
    return target.ask("POST", f"blobs/uploads/?mount={digest}&from={source}")


def is_an_upload(target: Repository, answer: Answer) -> bool:
    """Whether the answer began an upload that works."""
    assert answer.status == 202, answer
    data = os.urandom(20)
    assert target.close(answer["Location"], digest_of(data), data).status == 201
    return True


@pytest.mark.parametrize("escaped", [True, False])
def test_a_blob_of_another_repository(repository: Repository, other: Repository, escaped: bool) -> None:
    data = os.urandom(100)
    digest = other.push_blob(data)
    told = (quote(digest, safe=""), quote(other.name, safe="")) if escaped else (digest, other.name)
    answer = mount(repository, *told)
    assert answer.status == 201
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Location"] == repository.path(f"blobs/{digest}")
    assert repository.registry.ask("GET", answer["Location"]).body == data


def test_a_mounted_blob_is_ones_own(repository: Repository, other: Repository) -> None:
    data = os.urandom(100)
    digest = other.push_blob(data)
    mount(repository, digest, other.name)
    assert other.ask("DELETE", f"blobs/{digest}").status == 202
    assert repository.ask("GET", f"blobs/{digest}").body == data
    assert other.ask("GET", f"blobs/{digest}").status == 404


def test_a_mount_from_itself(repository: Repository) -> None:
    digest = repository.push_blob(os.urandom(100))
    assert mount(repository, digest, repository.name).status == 201


def test_nothing_to_mount(repository: Repository, other: Repository) -> None:
    """trap 26"""
    assert is_an_upload(repository, mount(repository, random_digest(), other.name))
    other.push_blob(b"something")
    assert is_an_upload(repository, mount(repository, random_digest(), other.name))
    assert is_an_upload(repository, mount(repository, random_digest("sha512"), other.name))


@pytest.mark.parametrize("source", ["UPPER", "..%2F..", "a%00", "a%0A", "x" * 300, "a//b"])
def test_a_source_that_cannot_be(repository: Repository, source: str) -> None:
    """trap 26"""
    digest = repository.push_blob(os.urandom(20))
    assert is_an_upload(repository, mount(repository, digest, source))


def test_a_mount_without_a_source(repository: Repository, other: Repository) -> None:
    """trap 25"""
    data = os.urandom(100)
    digest = other.push_blob(data)
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}")
    assert answer.status == 201
    assert repository.registry.ask("GET", answer["Location"]).body == data
    for query in (f"?mount={random_digest()}", f"?mount={random_digest()}&from="):
        assert is_an_upload(repository, repository.ask("POST", f"blobs/uploads/{query}"))


def test_a_mount_without_a_source_finds_nothing_deleted(repository: Repository, other: Repository) -> None:
    """trap 25"""
    digest = other.push_blob(os.urandom(100))
    other.ask("DELETE", f"blobs/{digest}")
    assert is_an_upload(repository, repository.ask("POST", f"blobs/uploads/?mount={digest}"))
    assert repository.ask("HEAD", f"blobs/{digest}").status == 404


@pytest.mark.parametrize("bad", ["garbage", "sha256:x", "sha256:" + "A" * 64, "a%00", "%0A"])
def test_a_mount_of_what_is_no_digest(repository: Repository, other: Repository, bad: str) -> None:
    """trap 28"""
    for query in (f"?mount={bad}&from={other.name}", f"?mount={bad}"):
        assert repository.ask("POST", f"blobs/uploads/{query}").refuses(400, "DIGEST_INVALID")


@pytest.mark.parametrize("query", ["?from={}", "?mount=&from={}", "?mount="])
def test_a_source_and_nothing_to_mount(repository: Repository, other: Repository, query: str) -> None:
    """trap 28"""
    assert is_an_upload(repository, repository.ask("POST", f"blobs/uploads/{query.format(other.name)}"))


def test_a_digest_of_an_unknown_algorithm(repository: Repository, other: Repository) -> None:
    unknown = "md5:d41d8cd98f00b204e9800998ecf8427e"
    assert is_an_upload(repository, mount(repository, unknown, other.name))


def test_who_may_not_pull_cannot_mount(serve: Serve, tmp_path: Path) -> None:
    """trap 24: the answers for what is there and what is not are the same."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "- {who: anonymous, repositories: ['theirs'], may: [push]}\n"
        "- {who: anonymous, repositories: ['mine/*'], may: [pull, push]}\n"
    )
    server = serve(settings={"access": {"rules_file": str(rules)}})
    theirs, mine, also_mine = (server.repository(name) for name in ("theirs", "mine/a", "mine/b"))
    there = theirs.push_blob(os.urandom(50))
    answers = [
        mine.ask("POST", f"blobs/uploads/?mount={digest}{where}")
        for digest in (there, random_digest())
        for where in ("&from=theirs", "")
    ]
    assert all(is_an_upload(mine, answer) for answer in answers)
    assert len({tuple(name for name, _ in answer.headers) for answer in answers}) == 1
    assert mine.ask("HEAD", f"blobs/{there}").status == 404
    # What may be pulled may be mounted.
    assert mount(mine, also_mine.push_blob(b"shared"), also_mine.name).status == 201
