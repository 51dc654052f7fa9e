"""sha512 as an equal: content is answered by the digest that it was pushed with."""

from __future__ import annotations

import json
import os

import pytest

from tests.api.contents import artifact, digest_of, image, index
from tests.api.registry import Repository


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("style", ["PUT", "PATCH", "pieces", "single POST"])
def test_a_blob(repository: Repository, style: str, announced: bool) -> None:
    """trap 11"""
    data = os.urandom(2000)
    digest = digest_of(data, "sha512")
    query = "?digest-algorithm=sha512" if announced else ""
    match style:
        case "single POST":
            closed = repository.ask("POST", f"blobs/uploads/?digest={digest}", body=data)
        case "PUT":
            closed = repository.close(repository.begin(query), digest, data)
        case "PATCH":
            location = repository.begin(query)
            repository.registry.ask("PATCH", location, body=[data])
            closed = repository.close(location, digest)
        case _:
            location = repository.begin(query)
            for start in (0, 1000):
                headers = {"Content-Range": f"{start}-{start + 999}"}
                repository.registry.ask("PATCH", location, headers, data[start : start + 1000])
            closed = repository.close(location, digest)
    assert closed.status == 201, closed
    assert closed["Docker-Content-Digest"] == digest
    for method in ("GET", "HEAD"):
        found = repository.registry.ask(method, closed["Location"])
        assert (found.status, found["Docker-Content-Digest"]) == (200, digest)
        assert found.body == (data if method == "GET" else b"")
    assert repository.ask("HEAD", f"blobs/{digest_of(data)}").status == 404


def test_announced_and_then_closed_with_the_other(repository: Repository) -> None:
    """trap 11"""
    for told, used in (("sha512", "sha256"), ("sha256", "sha512")):
        data = os.urandom(100)
        location = repository.begin(f"?digest-algorithm={told}")
        repository.registry.ask("PATCH", location, body=data)
        assert repository.close(location, digest_of(data, used)).status == 201
        assert repository.ask("GET", f"blobs/{digest_of(data, used)}").body == data


def test_content_that_is_not_its_sha512(repository: Repository) -> None:
    data = os.urandom(100)
    wrong = digest_of(data + b"x", "sha512")
    assert repository.close(repository.begin(), wrong, data).refuses(400, "DIGEST_INVALID")
    location = repository.begin("?digest-algorithm=sha512")
    repository.registry.ask("PATCH", location, body=data)
    assert repository.close(location, wrong).refuses(400, "DIGEST_INVALID")


def test_a_tag_remembers_the_algorithm(repository: Repository) -> None:
    """trap 12"""
    made = image(algorithm="sha512")
    digest = digest_of(made.data, "sha512")
    for blob in made.blobs:
        repository.push_blob(blob, "sha512")
    put = repository.put(made, digest, "?tag=a&tag=b")
    assert put.status == 201
    assert put["Docker-Content-Digest"] == digest
    assert put["OCI-Tag"] == "a, b"
    for reference in ("a", "b", digest):
        for method in ("GET", "HEAD"):
            answer = repository.ask(method, f"manifests/{reference}")
            assert (answer.status, answer["Docker-Content-Digest"]) == (200, digest)
            assert answer["ETag"] == f'"{digest}"'
    assert repository.get(made.digest).status == 404


def test_the_same_manifest_by_both(repository: Repository) -> None:
    made = repository.push(image(), "by-sha256")
    digest = digest_of(made.data, "sha512")
    assert repository.put(made, digest, "?tag=by-sha512").status == 201
    assert repository.get("by-sha256")["Docker-Content-Digest"] == made.digest
    assert repository.get("by-sha512")["Docker-Content-Digest"] == digest
    assert repository.ask("DELETE", f"manifests/{digest}").status == 202
    assert repository.get("by-sha512").status == 404
    assert repository.get("by-sha256").body == made.data


def test_the_same_blob_by_both(repository: Repository) -> None:
    data = os.urandom(100)
    first, second = repository.push_blob(data), repository.push_blob(data, "sha512")
    assert repository.ask("DELETE", f"blobs/{first}").status == 202
    assert repository.ask("GET", f"blobs/{second}").body == data


def test_a_mount(repository: Repository, other: Repository) -> None:
    data = os.urandom(100)
    digest = other.push_blob(data, "sha512")
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}&from={other.name}")
    assert (answer.status, answer["Docker-Content-Digest"]) == (201, digest)
    assert repository.ask("GET", f"blobs/{digest}").body == data


def test_referrers(repository: Repository) -> None:
    subject = image(algorithm="sha512")
    digest = digest_of(subject.data, "sha512")
    repository.push(subject, algorithm="sha512")
    signature = artifact("application/vnd.example", subject.descriptor("sha512"))
    repository.push(signature)
    by_sha512 = digest_of(signature.data, "sha512")
    put = repository.put(signature, by_sha512)
    assert put["OCI-Subject"] == digest
    assert set(repository.referrers(digest)) == {signature.digest, by_sha512}
    assert repository.referrers(subject.digest) == []


def test_an_index_of_both(repository: Repository) -> None:
    one, two = repository.push(image()), repository.push(image(algorithm="sha512"), algorithm="sha512")
    both = repository.push(index([one.descriptor(), two.descriptor("sha512")]), "both")
    assert repository.get("both").body == both.data
    for child in json.loads(both.data)["manifests"]:
        assert repository.get(child["digest"])["Docker-Content-Digest"] == child["digest"]


def test_a_range(repository: Repository) -> None:
    data = os.urandom(100)
    digest = repository.push_blob(data, "sha512")
    answer = repository.ask("GET", f"blobs/{digest}", {"Range": "bytes=10-19", "If-Range": f'"{digest}"'})
    assert (answer.status, answer.body, answer["Docker-Content-Digest"]) == (206, data[10:20], digest)
