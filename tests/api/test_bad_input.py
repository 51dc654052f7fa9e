"""Lengths that lie, bodies that stop, and crowds: a clear error, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.api.client import Answer, Connection
from tests.api.conftest import Serve
from tests.api.contents import OCI_IMAGE, Manifest, digest_of, image, index
from tests.api.registry import Registry, Repository, closing
from tests.api.server import Server
from tests.folders import files_below, unfinished

LIMIT = 4 << 20
BLOB = os.urandom(1000)
DIGEST = digest_of(BLOB)


def arrived(repository: Repository, location: str) -> int:
    """How many bytes an upload has; 416 to a piece far away says so without waiting for one."""
    answer = repository.registry.ask("GET", location)
    assert answer.status == 204, answer
    return int(answer["Range"].rpartition("0-")[2]) + 1


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it is so; the server needs a moment to see that a connection broke."""
    for _ in range(2000):
        if condition():
            return
    raise AssertionError("it never came true")


def is_over(server: Server, method: str, target: str) -> bool:
    """Whether the server has done with a request that nobody waits for: its log has a line for each."""
    lines = (line for line in server.log.splitlines() if target.partition("?")[0] in line)
    return any(f'"method":"{method}"' in line for line in lines)


# Lengths.


def test_a_piece_longer_than_it_says(repository: Repository) -> None:
    """trap 66"""
    for method in ("PATCH", "PUT"):
        location = repository.begin()
        target = location if method == "PATCH" else closing(location, DIGEST)
        answer = repository.registry.ask(method, target, {"Content-Range": "0-499"}, BLOB)
        assert answer.refuses(400, "SIZE_INVALID")
        assert arrived(repository, location) == 0


def test_a_piece_shorter_than_it_says(repository: Repository) -> None:
    """trap 66"""
    for method in ("PATCH", "PUT"):
        location = repository.begin()
        target = location if method == "PATCH" else closing(location, DIGEST)
        answer = repository.registry.ask(method, target, {"Content-Range": "0-1999"}, BLOB)
        assert answer.refuses(400, "SIZE_INVALID")
        assert arrived(repository, location) == 0
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404


@pytest.mark.parametrize("told", ["0-499", "0-1999"])
def test_a_piece_without_a_length_that_is_not_what_it_says(repository: Repository, told: str) -> None:
    """trap 66: a chunked body has no length to compare, so its bytes are counted."""
    for method in ("PATCH", "PUT"):
        location = repository.begin()
        target = location if method == "PATCH" else closing(location, DIGEST)
        answer = repository.registry.ask(method, target, {"Content-Range": told}, [BLOB[:300], BLOB[300:]])
        assert answer.refuses(400, "SIZE_INVALID")
        assert arrived(repository, location) == 0
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404


@pytest.mark.parametrize(
    "told",
    ["-1", "abc", "1.5", "0x10", "10, 20", "9" * 40, "+5", "0" * 5000, "1000\r\nTransfer-Encoding: chunked"],
)
def test_lengths_that_are_none(registry: Registry, repository: Repository, told: str) -> None:
    location = repository.begin()
    with registry.connect() as connection:
        connection.begin("PATCH", location, [("Content-Length", told)])
        connection.send(BLOB)
        # To refuse by hanging up is an answer too.
        with contextlib.suppress(HTTPException, ConnectionError):
            assert connection.answer().status == 400
    assert arrived(repository, location) == 0


def test_two_lengths(registry: Registry, repository: Repository) -> None:
    location = repository.begin()
    with registry.connect() as connection:
        connection.begin("PATCH", location, [("Content-Length", "5"), ("Content-Length", "1000")])
        connection.send(BLOB)
        with contextlib.suppress(HTTPException, ConnectionError):
            assert connection.answer().status == 400
    assert arrived(repository, location) == 0


@pytest.mark.parametrize(
    ("size", "most"),
    [("zz", 0), ("-1", 0), ("", 0), ("0x3e8", 0), ("f" * 20, 0), ("5;" + "x" * 100_000, 5), ("3e7", 999)],
    ids=["no number", "negative", "none", "prefixed", "beyond 64 bits", "an extension", "one too few"],
)
def test_chunks_of_no_size_or_a_wrong_one(
    server: Server, repository: Repository, size: str, most: int
) -> None:
    """What came in chunks that were sound before the first that is not is all that there can be of it."""
    location = repository.begin()
    with repository.registry.connect() as connection:
        connection.begin("PATCH", location, {"Transfer-Encoding": "chunked"})
        connection.send(f"{size}\r\n".encode() + BLOB + b"\r\n0\r\n\r\n")
        assert connection.answer().refuses(400, "REQUEST_INVALID")
    until(lambda: is_over(server, "PATCH", location))
    have = arrived(repository, location)
    assert have <= most
    # Whatever it has is what was sent, in its place.
    assert repository.registry.ask("PATCH", location, body=BLOB[have:]).status == 202
    assert repository.close(location, DIGEST).status == 201


# Bodies that stop.


def cut_off(registry: Registry, method: str, target: str, chunked: bool, sent: bytes) -> Connection:
    """Begin a request whose body stops in the middle."""
    connection = registry.connect()
    headers = {"Content-Type": OCI_IMAGE}
    if chunked:
        connection.begin(method, target, {**headers, "Transfer-Encoding": "chunked"})
        if sent:
            connection.send_chunk(sent)
    else:
        connection.begin(method, target, {**headers, "Content-Length": str(len(BLOB))})
        connection.send(sent)
    return connection


@pytest.fixture(params=["closed", "reset", "half closed"])
def hang_up(request: pytest.FixtureRequest) -> Callable[[Connection], None]:
    """The ways in which a connection ends; who still listens is told."""

    def end(connection: Connection) -> None:
        if request.param == "reset":
            connection.reset()
            return
        if request.param == "half closed":
            connection.hang_up()
            assert connection.answer().refuses(400, "SIZE_INVALID")
        connection.__exit__(None, None, None)

    return end


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("sent", [0, 1, 600, 999])
def test_a_patch_that_stops(
    repository: Repository, hang_up: Callable[[Connection], None], sent: int, chunked: bool
) -> None:
    """trap 65: what arrived counts, the status tells the truth, and the upload can be finished."""
    location = repository.begin()
    repository.registry.ask("PATCH", location, body=b"before")
    hang_up(cut_off(repository.registry, "PATCH", location, chunked, BLOB[:sent]))
    # How much of it arrived before the connection broke is the network's affair; that it is told is ours.
    until(lambda: 6 <= arrived(repository, location) <= 6 + sent)
    have = arrived(repository, location) - 6
    rest = BLOB[have:]
    patched = repository.registry.ask(
        "PATCH", location, {"Content-Range": f"{6 + have}-{6 + len(BLOB) - 1}"}, rest
    )
    if patched.status == 416:
        # It arrived a moment later, as one piece.
        have = int(patched["Range"].rpartition("-")[2]) + 1 - 6
        assert have <= sent
        rest = BLOB[have:]
        patched = repository.registry.ask("PATCH", location, body=rest)
    assert patched.status == 202
    assert repository.close(location, digest_of(b"before" + BLOB)).status == 201
    assert repository.ask("GET", f"blobs/{digest_of(b'before' + BLOB)}").body == b"before" + BLOB


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("sent", [0, 1, 999])
@pytest.mark.parametrize("style", ["closing PUT", "single POST", "manifest"])
def test_a_push_that_stops(
    server: Server,
    repository: Repository,
    hang_up: Callable[[Connection], None],
    style: str,
    sent: int,
    chunked: bool,
) -> None:
    """trap 66"""
    location = repository.begin()
    method, target = {
        "closing PUT": ("PUT", closing(location, DIGEST)),
        "single POST": ("POST", repository.path(f"blobs/uploads/?digest={DIGEST}")),
        "manifest": ("PUT", repository.path("manifests/latest")),
    }[style]
    hang_up(cut_off(repository.registry, method, target, chunked, BLOB[:sent]))
    until(lambda: is_over(server, method, target))
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404
    assert repository.ask("HEAD", "manifests/latest").status == 404
    # The same push again, whole, succeeds.
    again = repository.ask("POST", f"blobs/uploads/?digest={DIGEST}", body=BLOB)
    assert again.status == 201
    assert repository.ask("GET", f"blobs/{DIGEST}").body == BLOB


def test_who_sends_no_more_and_listens_hears_how_much_arrived(repository: Repository) -> None:
    """trap 65"""
    location = repository.begin()
    with cut_off(repository.registry, "PATCH", location, False, BLOB[:600]) as connection:
        connection.hang_up()
        answer = connection.answer()
    assert answer.refuses(400, "SIZE_INVALID")
    assert (answer["Location"], answer["Range"]) == (location, "0-599")
    assert answer.get("Docker-Content-Digest") is None
    assert arrived(repository, location) == 600


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_asked_and_sends_no_more_gets_the_whole_answer(repository: Repository, method: str) -> None:
    """Small HTTP clients close their side behind the request: a pull is no less whole for that."""
    data = os.urandom(24 << 20)
    digest = repository.push_blob(data)
    with repository.registry.connect() as connection:
        connection.begin(method, repository.path(f"blobs/{digest}"))
        connection.hang_up()
        answer = connection.answer()
    assert (answer.status, answer["Content-Length"]) == (200, str(len(data)))
    assert method == "HEAD" or answer.body == data


def test_a_whole_body_whose_last_chunk_never_came_is_not_whole(
    server: Server, repository: Repository, hang_up: Callable[[Connection], None]
) -> None:
    """trap 66: it would be a manifest, but the client never said that this was all."""
    made = index()
    with repository.registry.connect() as connection:
        connection.begin(
            "PUT",
            repository.path("manifests/latest"),
            {"Content-Type": made.media_type, "Transfer-Encoding": "chunked"},
        )
        connection.send_chunk(made.data)
        hang_up(connection)
    until(lambda: is_over(server, "PUT", repository.path("manifests/latest")))
    assert repository.ask("HEAD", "manifests/latest").status == 404


@pytest.mark.parametrize(
    "head", ["G", "GET /v2/", "GET /v2/ HTTP/1.1\r\nHo", "PUT /v2/a/manifests/x HTTP/1.1\r\n"]
)
def test_heads_that_stop(registry: Registry, head: str) -> None:
    for _ in range(20):
        with registry.connect() as connection:
            connection.send(head.encode())
    assert registry.ask("GET", "/v2/").status == 200


def test_nothing_of_broken_pushes_is_left(serve: Serve, tmp_path: Path) -> None:
    """trap 65: temporary files go with the request that made them."""
    server = serve(tmp_path / "data")
    repository = server.repository("a")
    for method, target in (
        ("PUT", closing(repository.begin(), DIGEST)),
        ("POST", repository.path(f"blobs/uploads/?digest={DIGEST}")),
    ):
        cut_off(server.registry, method, target, False, BLOB[:500]).reset()
    repository.push_blob(b"something else")
    until(lambda: not [path for path in unfinished(server.root) if path.parent != server.root])
    assert not [path for path in files_below(server.root) if DIGEST[7:] in str(path)]
    assert "Traceback" not in server.log


# Manifests beyond the limit.


def large(size: int) -> Manifest:
    """An index of exactly so many bytes."""
    made = index([], annotations={"x": ""})
    return Manifest(
        made.data.replace(b'"x":""', b'"x":"%s"' % (b"y" * (size - len(made.data)))), made.media_type
    )


@pytest.mark.parametrize("chunked", [True, False])
def test_a_manifest_beyond_the_limit(repository: Repository, chunked: bool) -> None:
    """trap 67"""
    made = large(LIMIT + 1)
    assert len(made.data) == LIMIT + 1
    body = (made.data[at : at + 65536] for at in range(0, len(made.data), 65536)) if chunked else made.data
    answer = repository.ask("PUT", "manifests/latest", {"Content-Type": made.media_type}, body)
    assert answer.refuses(413, "MANIFEST_INVALID")
    assert repository.ask("HEAD", "manifests/latest").status == 404


@pytest.mark.parametrize("chunked", [True, False])
def test_a_manifest_at_the_limit(repository: Repository, chunked: bool) -> None:
    """trap 67"""
    made = large(LIMIT)
    assert len(made.data) == LIMIT
    body = [made.data[: 1 << 20], made.data[1 << 20 :]] if chunked else made.data
    assert repository.ask("PUT", "manifests/latest", {"Content-Type": made.media_type}, body).status == 201
    assert repository.get("latest").body == made.data


def test_an_endless_manifest_is_not_read_to_its_end(repository: Repository) -> None:
    """trap 67: this body never ends, so only who stops reading can answer."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    with repository.registry.connect() as connection:
        connection.begin(
            "PUT",
            repository.path("manifests/latest"),
            {"Content-Type": OCI_IMAGE, "Transfer-Encoding": "chunked"},
        )
        answers: list[Answer] = []
        reading = threading.Thread(target=lambda: answers.append(connection.answer()))
        reading.start()
        try:
            for piece in endless():
                if not reading.is_alive():
                    break
                connection.send_chunk(piece)
        except ConnectionError:
            pass
        reading.join()
    assert answers[0].refuses(413, "MANIFEST_INVALID")


# Crowds.


def test_twenty_clients_push_one_blob_at_once(serve: Serve, tmp_path: Path) -> None:
    """trap 64"""
    server = serve(tmp_path / "data")
    data = os.urandom(2 << 20)
    digest = digest_of(data)
    gate = threading.Barrier(20)

    def push(number: int) -> int:
        repository = server.repository(f"team-{number % 4}")
        location = repository.begin()
        gate.wait()
        if number % 2:
            repository.registry.ask("PATCH", location, body=[data[: 1 << 20], data[1 << 20 :]])
            return repository.close(location, digest).status
        return repository.close(location, digest, data).status

    with ThreadPoolExecutor(20) as crowd:
        assert list(crowd.map(push, range(20))) == [201] * 20
    for number in range(4):
        assert server.repository(f"team-{number}").ask("GET", f"blobs/{digest}").body == data
    copies = [path for path in files_below(server.root) if path.stat().st_size == len(data)]
    assert len(copies) == 1


def test_the_empty_config_pushed_by_many_again_and_again(repository: Repository) -> None:
    """trap 37"""
    digest = digest_of(b"{}")

    def push(number: int) -> int:
        if number % 3 == 0:
            return repository.ask("POST", f"blobs/uploads/?digest={digest}", body=b"{}").status
        return repository.close(repository.begin(), digest, b"{}").status

    with ThreadPoolExecutor(10) as crowd:
        assert set(crowd.map(push, range(60))) == {201}
    assert repository.ask("GET", f"blobs/{digest}").body == b"{}"


@pytest.mark.parametrize("_", range(5))
def test_one_session_closed_by_many_at_once(repository: Repository, _: int) -> None:
    location = repository.begin()
    data = os.urandom(100_000)
    repository.registry.ask("PATCH", location, body=data)
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: repository.close(location, digest_of(data)), range(8)))
    assert [answer.status for answer in answers] == [201] * 8
    assert repository.ask("GET", f"blobs/{digest_of(data)}").body == data


def test_one_image_pushed_by_many_at_once(repository: Repository) -> None:
    made = image()
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda number: repository.push(made, f"tag-{number}"), range(16)))
    assert len(repository.tags()) == 16
    assert all(repository.get(tag).body == made.data for tag in repository.tags())


def test_pushes_and_deletes_of_one_tag_at_once(repository: Repository) -> None:
    made = [repository.push(image(), "latest") for _ in range(2)]

    def turn(number: int) -> int:
        if number % 4 == 0:
            return repository.ask("DELETE", "manifests/latest").status
        return repository.put(made[number % 2], "latest").status

    with ThreadPoolExecutor(8) as crowd:
        assert set(crowd.map(turn, range(80))) <= {201, 202, 404}
    assert repository.put(made[0], "latest").status == 201
    assert repository.get("latest").body == made[0].data
