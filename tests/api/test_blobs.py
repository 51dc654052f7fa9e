"""Blobs pulled (dist-spec: Pulling blobs)."""

from __future__ import annotations

import os

import pytest

from tests.api.contents import digest_of, random_digest
from tests.api.registry import Repository

EMPTY = digest_of(b"")


def test_a_blob_and_what_is_said_of_it(repository: Repository) -> None:
    data = os.urandom(3000)
    digest = repository.push_blob(data)
    for method in ("GET", "HEAD"):
        answer = repository.ask(method, f"blobs/{digest}")
        assert answer.status == 200
        assert answer.body == (data if method == "GET" else b"")
        assert answer["Content-Length"] == "3000"
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Docker-Content-Digest"] == digest
        assert answer["ETag"] == f'"{digest}"'
        assert answer["Accept-Ranges"] == "bytes"
        assert "immutable" in answer["Cache-Control"]


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 1 << 20, (20 << 20) + 3])
def test_blobs_of_many_sizes(repository: Repository, size: int) -> None:
    data = os.urandom(size)
    assert repository.ask("GET", f"blobs/{repository.push_blob(data)}").body == data


@pytest.mark.parametrize("style", ["in the closing PUT", "no body at all", "PATCH", "single POST", "chunked"])
def test_the_blob_of_no_bytes(repository: Repository, style: str) -> None:
    """trap 6"""
    match style:
        case "in the closing PUT":
            answer = repository.close(repository.begin(), EMPTY, b"")
        case "no body at all":
            answer = repository.close(repository.begin(), EMPTY)
        case "PATCH":
            location = repository.begin()
            patched = repository.registry.ask("PATCH", location, body=[])
            assert (patched.status, patched["Range"]) == (202, "0-0")
            answer = repository.close(patched["Location"], EMPTY)
        case "single POST":
            answer = repository.ask("POST", f"blobs/uploads/?digest={EMPTY}", body=b"")
        case _:
            answer = repository.close(repository.begin(), EMPTY, [])
    assert answer.status == 201, answer
    for method in ("GET", "HEAD"):
        found = repository.ask(method, f"blobs/{EMPTY}")
        assert (found.status, found["Content-Length"], found.body) == (200, "0", b"")
        assert found["Docker-Content-Digest"] == EMPTY


def test_what_is_missing_is_missing(repository: Repository) -> None:
    repository.push_blob(b"something else")
    for digest in (random_digest(), random_digest("sha512"), "md5:d41d8cd98f00b204e9800998ecf8427e"):
        assert repository.ask("GET", f"blobs/{digest}").refuses(404, "BLOB_UNKNOWN")
        head = repository.ask("HEAD", f"blobs/{digest}")
        assert (head.status, head.body) == (404, b"")
        assert repository.ask("DELETE", f"blobs/{digest}").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_repository_has_it_and_this_one_has_not(
    repository: Repository, other: Repository, method: str
) -> None:
    """trap 63"""
    digest = other.push_blob(os.urandom(30))
    assert repository.ask(method, f"blobs/{digest}").status == 404


@pytest.mark.parametrize("digest", ["sha256:xyz", "sha256:" + "A" * 64, "sha256", "latest", "sha256%3Aabc"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_malformed_digests(repository: Repository, method: str, digest: str) -> None:
    assert repository.ask(method, f"blobs/{digest}").refuses(400, "DIGEST_INVALID")


def test_a_digest_may_be_escaped(repository: Repository) -> None:
    digest = repository.push_blob(b"escaped")
    assert repository.ask("GET", f"blobs/{digest.replace(':', '%3A')}").body == b"escaped"


@pytest.mark.parametrize("spelling", ['"{}"', "{}", '"x", "{}"', "*"])
def test_who_holds_it_already_gets_nothing(repository: Repository, spelling: str) -> None:
    digest = repository.push_blob(os.urandom(30))
    for method in ("GET", "HEAD"):
        answer = repository.ask(method, f"blobs/{digest}", {"If-None-Match": spelling.replace("{}", digest)})
        assert (answer.status, answer.body, answer["ETag"]) == (304, b"", f'"{digest}"')


def test_nobody_holds_what_is_not_here(repository: Repository) -> None:
    digest = random_digest()
    assert repository.ask("GET", f"blobs/{digest}", {"If-None-Match": f'"{digest}"'}).status == 404


def test_two_repositories_share_content_and_nothing_else(repository: Repository, other: Repository) -> None:
    data = os.urandom(100)
    digest = repository.push_blob(data)
    assert other.push_blob(data) == digest
    assert repository.ask("DELETE", f"blobs/{digest}").status == 202
    assert repository.ask("GET", f"blobs/{digest}").status == 404
    assert other.ask("GET", f"blobs/{digest}").body == data
