"""Blob uploads (dist-spec: Pushing blobs)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.contents import digest_of, image
from tests.api.registry import Repository, closing
from tests.folders import files_below

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def post_patch_put(repository: Repository, data: bytes, digest: str) -> Answer:
    patched = repository.registry.ask("PATCH", repository.begin(), body=data)
    assert patched.status == 202, patched
    assert patched["Range"] == f"0-{len(data) - 1}"
    return repository.close(patched["Location"], digest)


def post_put(repository: Repository, data: bytes, digest: str) -> Answer:
    return repository.close(repository.begin(), digest, data)


def post_put_chunked(repository: Repository, data: bytes, digest: str) -> Answer:
    return repository.close(repository.begin(), digest, [data[:7], data[7:]])


def single_post(repository: Repository, data: bytes, digest: str) -> Answer:
    return repository.ask("POST", f"blobs/uploads/?digest={digest}", body=data)


def single_post_chunked(repository: Repository, data: bytes, digest: str) -> Answer:
    return repository.ask("POST", f"blobs/uploads/?digest={digest}", body=[data[:7], data[7:]])


def streamed(repository: Repository, data: bytes, digest: str) -> Answer:
    patched = repository.registry.ask("PATCH", repository.begin(), body=[data[:100], data[100:]])
    assert (patched.status, patched["Range"]) == (202, f"0-{len(data) - 1}")
    return repository.close(patched["Location"], digest)


def streamed_twice(repository: Repository, data: bytes, digest: str) -> Answer:
    location = repository.begin()
    for piece in (data[:100], data[100:]):
        location = repository.registry.ask("PATCH", location, body=[piece])["Location"]
    return repository.close(location, digest)


def in_pieces(repository: Repository, data: bytes, digest: str) -> Answer:
    location = repository.begin()
    for start in range(0, len(data), 100):
        patched = piece(repository, "PATCH", location, start, data[start : start + 100])
        assert patched.status == 202, patched
        assert patched["Range"] == f"0-{min(start + 100, len(data)) - 1}"
        location = patched["Location"]
    return repository.close(location, digest)


def last_piece_in_put(repository: Repository, data: bytes, digest: str) -> Answer:
    location = piece(repository, "PATCH", repository.begin(), 0, data[:600])["Location"]
    return piece(repository, "PUT", closing(location, digest), 600, data[600:])


def only_piece_in_put(repository: Repository, data: bytes, digest: str) -> Answer:
    return piece(repository, "PUT", closing(repository.begin(), digest), 0, data)


STYLES: list[Callable[[Repository, bytes, str], Answer]] = [
    post_patch_put,
    post_put,
    post_put_chunked,
    single_post,
    single_post_chunked,
    streamed,
    streamed_twice,
    in_pieces,
    last_piece_in_put,
    only_piece_in_put,
]


def piece(repository: Repository, method: str, target: str, start: int, data: bytes) -> Answer:
    """Send a piece for a place."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"{start}-{start + len(data) - 1}",
    }
    return repository.registry.ask(method, target, headers, data)


def status_range(repository: Repository, location: str) -> str:
    """How far an upload has come."""
    answer = repository.registry.ask("GET", location)
    assert answer.status == 204, answer
    return answer["Range"]


@pytest.mark.parametrize("style", STYLES)
def test_every_way_of_pushing(repository: Repository, style: Callable[..., Answer]) -> None:
    """trap 7 is among them: PATCH with neither length nor place."""
    data = os.urandom(1234)
    digest = digest_of(data)
    answer = style(repository, data, digest)
    assert answer.status == 201, answer
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Content-Length"] == "0"
    found = repository.registry.ask("GET", answer["Location"])
    assert (found.status, found.body) == (200, data)


@pytest.mark.parametrize("style", STYLES)
def test_every_way_of_pushing_what_is_not_its_digest(
    repository: Repository, style: Callable[..., Answer]
) -> None:
    data = os.urandom(1234)
    wrong = digest_of(data + b"x")
    assert style(repository, data, wrong).refuses(400, "DIGEST_INVALID")
    for digest in (wrong, digest_of(data)):
        assert repository.ask("HEAD", f"blobs/{digest}").status == 404


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("bad", ["sha256:xyz", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e"])
def test_every_way_of_pushing_with_a_bad_digest(
    repository: Repository, style: Callable[..., Answer], bad: str
) -> None:
    assert style(repository, os.urandom(1234), bad).refuses(400, "DIGEST_INVALID")


@pytest.mark.parametrize("style", STYLES)
def test_what_is_there_can_be_pushed_again(repository: Repository, style: Callable[..., Answer]) -> None:
    data = os.urandom(1234)
    digest = repository.push_blob(data)
    assert style(repository, data, digest).status == 201
    assert repository.ask("GET", f"blobs/{digest}").body == data


def test_a_session_says_where_and_how_far(repository: Repository) -> None:
    """trap 56: locations begin with a slash, so that no proxy can make them wrong."""
    begun = repository.ask("POST", "blobs/uploads/")
    assert begun.status == 202
    uuid = begun["Docker-Upload-UUID"]
    assert begun["Location"].startswith(f"/v2/{repository.name}/blobs/uploads/{uuid}")
    assert begun["Content-Length"] == "0"
    patched = repository.registry.ask("PATCH", begun["Location"], body=b"12345")
    assert patched.status == 202
    assert (patched["Range"], patched["Docker-Upload-UUID"], patched["Content-Length"]) == ("0-4", uuid, "0")
    assert patched["Location"].startswith("/v2/")
    status = repository.registry.ask("GET", patched["Location"])
    assert (status.status, status["Range"], status["Docker-Upload-UUID"]) == (204, "0-4", uuid)
    assert status["Location"].startswith("/v2/")
    closed = repository.close(patched["Location"], digest_of(b"12345"))
    assert closed["Location"] == repository.path(f"blobs/{digest_of(b'12345')}")


def test_an_upload_without_bytes(repository: Repository) -> None:
    """trap 9"""
    begun = repository.ask("POST", "blobs/uploads/")
    assert begun["Range"] == "0-0"
    assert status_range(repository, begun["Location"]) == "0--1"
    patched = repository.registry.ask("PATCH", begun["Location"], body=b"")
    assert (patched.status, patched["Range"]) == (202, "0-0")
    refused = piece(repository, "PATCH", begun["Location"], 1, b"second")
    assert refused.status == 416
    assert refused["Range"] == "0--1"
    assert urlsplit(refused["Location"]).path == urlsplit(begun["Location"]).path
    # One byte is not none.
    repository.registry.ask("PATCH", begun["Location"], body=b"x")
    assert status_range(repository, begun["Location"]) == "0-0"


def test_a_piece_at_the_wrong_place(repository: Repository) -> None:
    """trap 8"""
    location = repository.begin()
    assert piece(repository, "PATCH", location, 5, b"ahead").refuses(416, "RANGE_INVALID")
    assert status_range(repository, location) == "0--1"
    assert piece(repository, "PATCH", location, 0, b"012345").status == 202
    for start in (0, 3, 5, 7, 10**15):
        refused = piece(repository, "PATCH", location, start, b"012345")
        assert refused.refuses(416, "RANGE_INVALID")
        assert refused["Range"] == "0-5"
        assert refused["Location"].startswith("/v2/")
    assert status_range(repository, location) == "0-5"
    assert piece(repository, "PATCH", location, 6, b"6789").status == 202
    assert repository.close(location, digest_of(b"0123456789")).status == 201


@pytest.mark.parametrize("start", [0, 3, 7])
def test_a_last_piece_at_the_wrong_place(repository: Repository, start: int) -> None:
    """trap 10"""
    data = b"0123456789"
    location = repository.begin()
    piece(repository, "PATCH", location, 0, data[:6])
    target = closing(location, digest_of(data))
    assert piece(repository, "PUT", target, start, data[6:]).refuses(416, "RANGE_INVALID")
    status = repository.registry.ask("GET", target)
    assert (status.status, status["Range"]) == (204, "0-5")
    assert piece(repository, "PUT", target, 6, data[6:]).status == 201


@pytest.mark.parametrize("count", [1, 2, 50])
def test_any_number_of_pieces(repository: Repository, count: int) -> None:
    data = os.urandom(count * 3)
    location = repository.begin()
    for number in range(count):
        location = piece(repository, "PATCH", location, number * 3, data[number * 3 : number * 3 + 3])[
            "Location"
        ]
    assert status_range(repository, location) == f"0-{count * 3 - 1}"
    assert repository.close(location, digest_of(data)).status == 201
    assert repository.ask("GET", f"blobs/{digest_of(data)}").body == data


@pytest.mark.parametrize("told", ["abc", "5", "-5", "5-", "a-b", "0-4-5", "0-٣", "0x0-4", "", "9-5"])
def test_a_place_that_is_none(repository: Repository, told: str) -> None:
    location = repository.begin()
    answer = repository.registry.ask(
        "PATCH", location, [("Content-Range", told.encode().decode("latin-1"))], b"12345"
    )
    # An empty header says nothing, and is the same as none.
    assert answer.status == (202 if told == "" else 416 if told == "9-5" else 400), answer
    assert status_range(repository, location) == ("0-4" if told == "" else "0--1")


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "application/json", "text/html"])
def test_any_type_of_body_is_taken(repository: Repository, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    patched = repository.registry.ask("PATCH", repository.begin(), headers, b"data")
    assert patched.status == 202
    closed = repository.registry.ask("PUT", closing(patched["Location"], digest_of(b"data")), headers)
    assert closed.status == 201


@pytest.mark.parametrize("body", [None, b"", b"null", b"{}"])
def test_crane_begins_an_upload(repository: Repository, body: bytes | None) -> None:
    """trap 61"""
    answer = repository.ask("POST", "blobs/uploads/", {"Content-Type": "application/json"}, body)
    assert answer.status == 202
    assert status_range(repository, answer["Location"]) == "0--1"


def test_an_upload_begun_without_any_length(repository: Repository) -> None:
    """trap 61"""
    with repository.registry.connect() as connection:
        connection.begin("POST", repository.path("blobs/uploads/"))
        assert connection.answer().status == 202


def test_an_upload_begun_without_the_last_slash(repository: Repository) -> None:
    """trap 59"""
    digest = digest_of(b"no slash")
    begun = repository.ask("POST", "blobs/uploads")
    assert begun.status == 202
    assert repository.close(begun["Location"], digest, b"no slash").status == 201
    assert repository.ask("POST", f"blobs/uploads?digest={digest}", body=b"no slash").status == 201


@pytest.mark.parametrize("separator", ["?", "&"])
@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
def test_digests_are_written_in_many_ways(repository: Repository, separator: str, colon: str) -> None:
    digest = digest_of(b"spelled").replace(":", colon)
    location = f"{repository.begin()}?_state=x" if separator == "&" else repository.begin()
    answer = repository.registry.ask("PUT", f"{location}{separator}digest={digest}", body=b"spelled")
    assert answer.status == 201


@pytest.mark.parametrize("query", ["", "?digest=", "?Digest=sha256:x"])
def test_a_closing_put_needs_a_digest(repository: Repository, query: str) -> None:
    location = repository.begin()
    assert repository.registry.ask("PUT", location + query, body=b"x").refuses(400, "DIGEST_INVALID")
    assert repository.registry.ask("GET", location).status == 204


def test_a_repeated_closing_put(repository: Repository) -> None:
    """The answer to the first may have been lost on its way."""
    for body in (b"closed", None):
        location = repository.begin()
        if body is None:
            repository.registry.ask("PATCH", location, body=b"closed")
        for _ in range(3):
            assert repository.close(location, digest_of(b"closed"), body).status == 201
        assert repository.registry.ask("GET", location).refuses(404, "BLOB_UPLOAD_UNKNOWN")
        assert repository.close(location, digest_of(os.urandom(8))).refuses(404, "BLOB_UPLOAD_UNKNOWN")


def test_a_closing_put_repeated_elsewhere_gives_nothing_away(
    repository: Repository, other: Repository
) -> None:
    location = repository.begin()
    repository.close(location, digest_of(b"mine"), b"mine")
    moved = location.replace(repository.name, other.name)
    assert other.close(moved, digest_of(b"mine")).refuses(404, "BLOB_UPLOAD_UNKNOWN")
    assert other.ask("HEAD", f"blobs/{digest_of(b'mine')}").status == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_session_answers_only_in_its_own_repository(
    repository: Repository, other: Repository, method: str
) -> None:
    location = repository.begin()
    repository.registry.ask("PATCH", location, body=b"12345")
    moved = location.replace(repository.name, other.name)
    target = closing(moved, digest_of(b"12345")) if method == "PUT" else moved
    body = b"6" if method == "PATCH" else None
    assert repository.registry.ask(method, target, body=body).refuses(404, "BLOB_UPLOAD_UNKNOWN")
    assert status_range(repository, location) == "0-4"


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "uuid",
    [
        UNKNOWN,
        UNKNOWN.upper().replace("0", "A"),
        "x",
        "%2e%2e",
        "..",
        "a%00b",
        "a%0A",
        f"{UNKNOWN}%0A",
        "a" * 300,
        "%2e%2e%2f%2e%2e%2fetc",
        "{00000000-0000-4000-8000-000000000000}",
    ],
)
def test_sessions_that_never_were(repository: Repository, method: str, uuid: str) -> None:
    query = f"?digest={digest_of(b'')}" if method == "PUT" else ""
    body = b"data" if method in ("PATCH", "PUT") else None
    answer = repository.ask(method, f"blobs/uploads/{uuid}{query}", body=body)
    assert answer.status in (400, 404)
    if uuid == UNKNOWN:
        assert answer.codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_a_cancelled_session_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    """trap 30"""
    server = serve(tmp_path / "data")
    repository = server.repository("a")
    before = files(server.root)
    location = repository.begin()
    repository.registry.ask("PATCH", location, body=os.urandom(100_000))
    assert files(server.root) > before
    cancelled = repository.registry.ask("DELETE", location, {"Content-Length": "0"})
    assert (cancelled.status, cancelled.body) == (204, b"")
    assert files(server.root) == before
    for method in ("GET", "PATCH", "DELETE"):
        answer = repository.registry.ask(method, location, body=b"x" if method == "PATCH" else None)
        assert answer.refuses(404, "BLOB_UPLOAD_UNKNOWN")
    assert repository.close(location, digest_of(b"x"), b"x").refuses(404, "BLOB_UPLOAD_UNKNOWN")


def test_a_finished_push_leaves_nothing_but_itself(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "data")
    repository = server.repository("a")
    data = os.urandom(1234)
    for style in STYLES:
        assert style(repository, data, digest_of(data)).status == 201
        assert style(repository, data, digest_of(b"other")).status == 400 or style is not single_post
    left = {path for path in files(server.root) if "docker/registry" in path}
    kept = {path for path in left if path.endswith(("/data", "/link"))}
    assert len(kept) == 2, left


def test_who_may_push_may_cancel(serve: Serve, tmp_path: Path) -> None:
    """trap 29"""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {who: anonymous, repositories: ['**'], may: [pull, push, list]}\n")
    server = serve(settings={"access": {"rules_file": str(rules)}})
    repository = server.repository("a")
    made = repository.push(image(), "latest")
    assert repository.registry.ask("DELETE", repository.begin()).status == 204
    for rest in ("manifests/latest", f"manifests/{made.digest}", f"blobs/{digest_of(made.blobs[0])}"):
        assert repository.ask("DELETE", rest).refuses(403, "DENIED")


@pytest.mark.parametrize("algorithm", ["md5", "", "sha-256", "sha256%0A", "x" * 300])
def test_an_algorithm_that_nobody_knows(repository: Repository, algorithm: str) -> None:
    answer = repository.ask("POST", f"blobs/uploads/?digest-algorithm={algorithm}")
    assert answer.refuses(400, "DIGEST_INVALID")


def test_the_usual_algorithm_may_be_announced(repository: Repository) -> None:
    location = repository.begin("?digest-algorithm=sha256")
    repository.registry.ask("PATCH", location, body=b"announced")
    assert repository.close(location, digest_of(b"announced")).status == 201


def files(root: Path) -> set[str]:
    """The files below a directory, by path."""
    return set(map(str, files_below(root)))
