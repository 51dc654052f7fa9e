"""Two server processes on one directory: every step of everything may land on either."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.client import Answer
from tests.api.contents import artifact, digest_of, image
from tests.api.registry import Repository, closing
from tests.api.server import Server

Pair = tuple[Repository, Repository]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two separate processes on one directory."""
    folder = tmp_path_factory.mktemp("pair")
    first = Server(folder / "data", folder)
    second = Server(folder / "data", folder)
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture
def pair(servers: tuple[Server, Server]) -> Pair:
    """One fresh repository as each of them serves it."""
    name = f"pair/{os.urandom(6).hex()}"
    return servers[0].repository(name), servers[1].repository(name)


@pytest.mark.parametrize("turns", list(itertools.product([0, 1], repeat=5)))
def test_every_step_of_an_upload_anywhere(pair: Pair, turns: tuple[int, ...]) -> None:
    data = os.urandom(3000)
    steps = [pair[turn] for turn in turns]
    location = steps[0].begin()
    for step, start in ((steps[1], 0), (steps[2], 1500)):
        patched = step.registry.ask(
            "PATCH", location, {"Content-Range": f"{start}-{start + 1499}"}, data[start : start + 1500]
        )
        assert patched.status == 202, patched
        location = patched["Location"]
    assert steps[3].registry.ask("GET", location)["Range"] == "0-2999"
    assert steps[4].close(location, digest_of(data)).status == 201
    for one in pair:
        assert one.ask("GET", f"blobs/{digest_of(data)}").body == data


def test_a_blob_is_everywhere_at_once(pair: Pair) -> None:
    """trap 62"""
    for size in (0, 1, 100_000):
        data = os.urandom(size)
        digest = pair[0].push_blob(data)
        for one in pair:
            head = one.ask("HEAD", f"blobs/{digest}")
            assert (head.status, head["Content-Length"]) == (200, str(size))


def test_a_push_and_every_delete_count_in_the_next_request(pair: Pair) -> None:
    here, there = pair
    made = here.push(image(), "latest")
    subject = here.push(image())
    signature = here.push(artifact("application/vnd.example", subject.descriptor()))
    # Both have it in memory now.
    for one in pair:
        assert one.get("latest").body == made.data
        assert one.get(made.digest).body == made.data
        assert one.referrers(subject.digest) == [signature.digest]
    moved = here.push(image(), "latest")
    assert there.get("latest").body == moved.data
    here.ask("DELETE", "manifests/latest")
    assert there.get("latest").status == 404
    assert there.tags() == []
    here.ask("DELETE", f"manifests/{made.digest}")
    for method in ("GET", "HEAD"):
        assert there.ask(method, f"manifests/{made.digest}").status == 404
    here.ask("DELETE", f"manifests/{signature.digest}")
    assert there.referrers(subject.digest) == []
    for blob in made.blobs:
        assert here.ask("DELETE", f"blobs/{digest_of(blob)}").status == 202
        assert there.ask("HEAD", f"blobs/{digest_of(blob)}").status == 404
        assert there.ask("GET", f"blobs/{digest_of(blob)}").status == 404


def test_cancelled_at_one_is_cancelled_at_the_other(pair: Pair) -> None:
    here, there = pair
    location = here.begin()
    there.registry.ask("PATCH", location, body=b"data")
    assert there.registry.ask("DELETE", location).status == 204
    for one in pair:
        assert one.registry.ask("GET", location).refuses(404, "BLOB_UPLOAD_UNKNOWN")
        assert one.registry.ask("PATCH", location, body=b"x").refuses(404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("place", ["told", "not told"])
@pytest.mark.parametrize("closed_with", [0, 1])
@pytest.mark.parametrize("closed_at", [0, 1])
@pytest.mark.parametrize("_", range(5))
def test_two_pieces_for_one_place(pair: Pair, closed_with: int, closed_at: int, place: str, _: int) -> None:
    """One of them wins; whichever digest closes the upload names exactly its own bytes, or is refused."""
    contents = [os.urandom(200_000), os.urandom(200_000)]
    digests = [digest_of(content) for content in contents]
    location = pair[0].begin()
    gate = threading.Barrier(2)
    headers = {"Content-Range": f"0-{len(contents[0]) - 1}"} if place == "told" else {}

    def send(number: int) -> Answer:
        gate.wait()
        return pair[number].registry.ask("PATCH", location, headers, contents[number])

    with ThreadPoolExecutor(2) as both:
        statuses = sorted(answer.status for answer in both.map(send, range(2)))
    assert statuses == [202, 416] if place == "told" else statuses in ([202, 416], [202, 202])
    closed = pair[closed_at].close(location, digests[closed_with])
    assert closed.status == 201 or 400 <= closed.status < 500, closed
    for number, digest in enumerate(digests):
        for one in pair:
            found = one.ask("GET", f"blobs/{digest}")
            if closed.status == 201 and number == closed_with:
                assert (found.status, found.body) == (200, contents[number])
            else:
                assert found.status == 404
    if closed.status != 201 and statuses == [202, 416]:
        # Then the other one is what the upload holds.
        assert pair[1 - closed_at].close(location, digests[1 - closed_with]).status == 201
        found = pair[0].ask("GET", f"blobs/{digests[1 - closed_with]}")
        assert found.body == contents[1 - closed_with]


@pytest.mark.parametrize("_", range(5))
@pytest.mark.parametrize("pieces", [1, 3])
def test_an_upload_closed_at_both_at_once(pair: Pair, pieces: int, _: int) -> None:
    data = os.urandom(90_000)
    location = pair[0].begin()
    step = len(data) // pieces
    for start in range(0, len(data), step):
        pair[start // step % 2].registry.ask("PATCH", location, body=data[start : start + step])
    with ThreadPoolExecutor(4) as crowd:
        answers = crowd.map(lambda at: pair[at % 2].close(location, digest_of(data)), range(4))
        assert [answer.status for answer in answers] == [201] * 4
    for one in pair:
        assert one.ask("GET", f"blobs/{digest_of(data)}").body == data


def test_a_piece_at_one_while_the_other_closes(pair: Pair) -> None:
    for _ in range(10):
        first, second = os.urandom(50_000), os.urandom(50_000)
        location = pair[0].begin()
        pair[0].registry.ask("PATCH", location, body=first)
        with ThreadPoolExecutor(2) as both:
            late = both.submit(pair[1].registry.ask, "PATCH", location, (), second)
            closed = both.submit(pair[0].close, location, digest_of(first))
        assert late.result().status in (202, 404, 416)
        status = closed.result().status
        assert status in (201, 400)
        found = pair[1].ask("GET", f"blobs/{digest_of(first)}")
        assert (found.status, found.body) == (200, first) if status == 201 else found.status == 404


def test_readers_of_a_tag_that_both_push(pair: Pair) -> None:
    """trap 77: one or the other, whole, never an error."""
    versions = [pair[0].push(image()) for _ in range(2)]
    by_digest = {made.digest: made for made in versions}
    pair[0].put(versions[0], "latest")
    pushing = threading.Event()
    pushing.set()
    seen: set[str] = set()

    def write(number: int) -> None:
        for turn in range(40):
            assert pair[number].put(versions[(number + turn) % 2], "latest").status == 201

    def read(number: int) -> None:
        while pushing.is_set():
            answer = pair[number].get("latest")
            assert answer.status == 200, answer
            digest = answer["Docker-Content-Digest"]
            assert answer.body == by_digest[digest].data
            seen.add(digest)
            assert pair[number].tags() == ["latest"]

    with ThreadPoolExecutor(4) as crowd:
        readers = [crowd.submit(read, number) for number in range(2)]
        writers = [crowd.submit(write, number) for number in range(2)]
        for writer in writers:
            writer.result()
        pushing.clear()
        for reader in readers:
            reader.result()
    assert seen == set(by_digest)


def test_an_image_in_two_halves(pair: Pair) -> None:
    made = image([os.urandom(100) for _ in range(6)])
    for number, blob in enumerate(made.blobs):
        pair[number % 2].push_blob(blob)
    assert pair[1].put(made, "latest").status == 201
    assert pair[0].get("latest").body == made.data


def test_a_mount_of_what_the_other_has_just_got(servers: tuple[Server, Server], pair: Pair) -> None:
    digest = pair[0].push_blob(os.urandom(100))
    target = servers[1].repository(f"mount/{os.urandom(6).hex()}")
    assert target.ask("POST", f"blobs/uploads/?mount={digest}&from={pair[0].name}").status == 201
    assert target.ask("HEAD", f"blobs/{digest}").status == 200


def test_a_closing_put_repeated_at_the_other(pair: Pair) -> None:
    location = pair[0].begin()
    pair[0].registry.ask("PATCH", location, body=b"lost answer")
    target = closing(location, digest_of(b"lost answer"))
    assert pair[0].registry.ask("PUT", target).status == 201
    assert pair[1].registry.ask("PUT", target).status == 201


def test_many_pushes_through_both(pair: Pair) -> None:
    made = [image([os.urandom(50) for _ in range(3)]) for _ in range(30)]

    def push(number: int) -> None:
        pair[number % 2].push(made[number], f"v{number:02d}")

    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(push, range(30)))
    for one in pair:
        assert one.tags() == [f"v{number:02d}" for number in range(30)]
        for number in range(30):
            assert one.get(f"v{number:02d}").body == made[number].data
