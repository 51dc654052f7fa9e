"""Parts of blobs (RFC 9110: Range Requests)."""

from __future__ import annotations

import os
import re
from email import message_from_bytes

import pytest

from tests.api.client import Answer
from tests.api.contents import digest_of
from tests.api.registry import Repository

SIZE = 3000


@pytest.fixture
def data() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def blob(repository: Repository, data: bytes) -> str:
    return f"blobs/{repository.push_blob(data)}"


def ranged(repository: Repository, blob: str, asked: str, **more: str) -> Answer:
    return repository.ask("GET", blob, {"Range": asked, **more})


def parts(answer: Answer) -> list[tuple[str, bytes]]:
    """The parts of a `multipart/byteranges` answer, each with its Content-Range."""
    head = f"Content-Type: {answer['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", answer["Content-Type"])
    assert boundary
    assert answer.body.rstrip().endswith(f"--{boundary[1]}--".encode())
    assert message_from_bytes(head + answer.body).is_multipart()
    found = []
    for part in answer.body.split(f"--{boundary[1]}".encode())[1:-1]:
        fields, _, body = part.partition(b"\r\n\r\n")
        content_range = re.search(rb"(?im)^content-range: (.*?)\r?$", fields)
        assert content_range
        found.append((content_range[1].decode(), body.removesuffix(b"\r\n")))
    return found


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        ("bytes=2000-5000", 2000, SIZE),
        ("bytes=-5000", 0, SIZE),
        ("bytes=2999-", 2999, SIZE),
        ("bytes=2999-2999", 2999, SIZE),
        ("BYTES=1-2", 1, 3),
        ("bytes= 1-2", 1, 3),
        ("bytes=1-99999999999999999999999999", 1, SIZE),
        ("bytes=9000-,1-2", 1, 3),
    ],
)
def test_one_part(repository: Repository, blob: str, data: bytes, asked: str, start: int, end: int) -> None:
    """trap 71"""
    answer = ranged(repository, blob, asked)
    assert answer.status == 206
    assert answer.body == data[start:end]
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer["Content-Length"] == str(end - start)
    assert answer["Docker-Content-Digest"] == digest_of(data)
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "asked", ["bytes=500-0", "bytes=3000-", "bytes=5000-10000", "bytes=-0", "bytes=9000-,4000-5000"]
)
def test_nothing_to_send(repository: Repository, blob: str, asked: str) -> None:
    """trap 71"""
    answer = ranged(repository, blob, asked)
    assert answer.refuses(416, "RANGE_INVALID")
    assert answer["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked",
    ["foo=1-2", "bytes=abc", "bytes", "bytes=", "bytes=1", "bytes=--1", "1-2", "bytes=1-2;3-4", "", "-"],
)
def test_headers_that_mean_nothing(repository: Repository, blob: str, data: bytes, asked: str) -> None:
    answer = ranged(repository, blob, asked)
    assert (answer.status, answer.body) == (200, data)


def test_resuming_an_empty_blob(repository: Repository) -> None:
    """trap 71: containerd resumes from byte 0 whatever the size."""
    answer = ranged(repository, f"blobs/{repository.push_blob(b'')}", "bytes=0-")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "places",
    [
        [(0, 10), (20, 30)],
        [(20, 30), (0, 10)],
        [(0, 10), (10, 20), (20, 30)],
        [(0, 100), (50, 150), (0, 100)],
        [(5, 6), (2990, 3000)],
    ],
)
def test_several_parts_as_they_were_asked_for(
    repository: Repository, blob: str, data: bytes, places: list[tuple[int, int]]
) -> None:
    """trap 72: in that order, neither merged nor sorted."""
    answer = ranged(repository, blob, "bytes=" + ",".join(f"{start}-{end - 1}" for start, end in places))
    assert answer.status == 206
    assert answer["Content-Length"] == str(len(answer.body))
    assert parts(answer) == [(f"bytes {start}-{end - 1}/{SIZE}", data[start:end]) for start, end in places]


def test_a_thousand_parts(repository: Repository, blob: str, data: bytes) -> None:
    """trap 72: podman asks for up to 1024 at once."""
    places = [(number * 2, number * 2 + 1) for number in range(1024)]
    answer = ranged(repository, blob, "bytes=" + ", ".join(f"{start}-{end - 1}" for start, end in places))
    assert answer.status == 206
    assert [body for _, body in parts(answer)] == [data[start:end] for start, end in places]


def test_more_than_is_sound(repository: Repository, blob: str, data: bytes) -> None:
    """Overlapping parts could make a server send its blobs a thousand times over."""
    answer = ranged(repository, blob, "bytes=" + ",".join(["0-"] * 1000))
    assert (answer.status, answer.body) == (200, data)


@pytest.mark.parametrize("encodings", ["zstd, gzip, deflate", "gzip", "br;q=1.0, *;q=0.5"])
def test_nothing_is_encoded(repository: Repository, encodings: str) -> None:
    """trap 73"""
    data = b"compressible " * 5000
    blob = f"blobs/{repository.push_blob(data)}"
    whole = repository.ask("GET", blob, {"Accept-Encoding": encodings})
    assert (whole.status, whole.body, whole.get("Content-Encoding")) == (200, data, None)
    assert whole["Content-Length"] == str(len(data))
    part = ranged(repository, blob, "bytes=10-19", **{"Accept-Encoding": encodings})
    assert (part.status, part.body, part.get("Content-Encoding")) == (206, data[10:20], None)


def test_a_part_only_of_what_the_client_has_begun(repository: Repository, blob: str, data: bytes) -> None:
    same = ranged(repository, blob, "bytes=10-19", **{"If-Range": f'"{digest_of(data)}"'})
    assert (same.status, same.body) == (206, data[10:20])
    for other in ('"sha256:x"', f'W/"{digest_of(data)}"', "Wed, 21 Oct 2026 07:28:00 GMT"):
        whole = ranged(repository, blob, "bytes=10-19", **{"If-Range": other})
        assert (whole.status, whole.body) == (200, data)


def test_head_tells_the_size_of_the_whole(repository: Repository, blob: str) -> None:
    answer = repository.ask("HEAD", blob, {"Range": "bytes=0-9"})
    assert answer["Content-Length"] in (str(SIZE), "10")
    assert answer.status == (200 if answer["Content-Length"] == str(SIZE) else 206)


def test_parts_of_what_is_missing(repository: Repository) -> None:
    answer = ranged(repository, f"blobs/{digest_of(os.urandom(5))}", "bytes=0-9")
    assert answer.refuses(404, "BLOB_UNKNOWN")


def test_a_part_across_many_pieces(repository: Repository) -> None:
    data = os.urandom(5 << 20)
    blob = f"blobs/{repository.push_blob(data)}"
    answer = ranged(repository, blob, f"bytes=1000-{(4 << 20) + 77}")
    assert answer.body == data[1000 : (4 << 20) + 78]
