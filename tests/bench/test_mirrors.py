"""That what an upstream sends is counted, and that what clients of mirrors get is looked at."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.bench import source as upstream
from tests.bench.connection import Connection, Refused
from tests.bench.content import TURN_BYTES, Blob, Recurring
from tests.bench.mirrors import path_of, seen_through
from tests.bench.rush import Wrong, pull
from tests.bench.source import PIECE_BYTES, Source

MIB = 1 << 20
SIZE = 3 * MIB + 5


@pytest.fixture
def source() -> Iterator[Source]:
    with Source(2) as made:
        yield made


def host_of(source: Source) -> str:
    return source.url.removeprefix("http://")


def test_what_an_upstream_sends_is_counted(source: Source) -> None:
    blob = source.add(Recurring(SIZE).blob)
    whole = b"".join(blob.body)
    with Connection(host_of(source)) as connection:
        assert int(connection.ask("HEAD", path_of(blob), 200).headers["content-length"]) == SIZE
        assert source.sent_bytes == 0
        assert b"".join(map(bytes, connection.pieces(path_of(blob), 200))) == whole
        assert source.sent_bytes == SIZE
        rest = connection.pieces(path_of(blob), 206, f"Range: bytes={2 * MIB}-\r\n")
        assert b"".join(map(bytes, rest)) == whole[2 * MIB :]
        assert source.sent_bytes == SIZE + SIZE - 2 * MIB


def test_it_has_a_manifest_under_each_tag(source: Source) -> None:
    with Connection(host_of(source)) as connection:
        found = [connection.ask("GET", f"/v2/any/app/manifests/{tag}", 200) for tag in source.tags]
        digests = {answer.headers["docker-content-digest"] for answer in found}
        assert digests == {f"sha256:{hashlib.sha256(answer.body).hexdigest()}" for answer in found}
        assert len(digests) == 2
        for digest in digests:
            connection.ask("HEAD", f"/v2/any/app/manifests/{digest}", 200)
    with Connection(host_of(source)) as connection, pytest.raises(Refused, match="404, not 200"):
        connection.ask("HEAD", "/v2/any/app/manifests/none", 200)


def test_a_blob_comes_no_faster_than_it_may(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(upstream, "time", SimpleNamespace(monotonic=lambda: 7.0, sleep=slept.append))
    source.bytes_per_second = PIECE_BYTES / 2
    list(source.pieces(Recurring(3 * PIECE_BYTES).blob, 0))
    assert slept == [0.0, 2.0, 4.0]


def test_every_piece_of_a_recurring_blob_can_be_checked() -> None:
    content = Recurring(SIZE)
    whole = b"".join(content.blob.body)
    assert content.blob.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}" and len(whole) == SIZE
    for place in (0, 1, MIB, TURN_BYTES - 1, 2 * MIB + 3):
        piece = whole[place : place + MIB]
        assert content.has(memoryview(piece), place)
        assert not content.has(memoryview(piece), place + MIB)
        assert not content.has(memoryview(piece[:-1] + bytes([piece[-1] ^ 1])), place)
    assert not content.has(memoryview(content.blob.body[0][:2]), len(whole) // TURN_BYTES * TURN_BYTES + 7)


class Breaking(Source):
    """One whose connections break after a MiB."""

    def pieces(self, blob: Blob, start: int) -> Iterator[memoryview]:
        for place, piece in enumerate(super().pieces(blob, start)):
            if place * PIECE_BYTES >= MIB:
                raise ConnectionError
            yield piece


def test_a_client_goes_on_at_the_next_server(source: Source) -> None:
    content = Recurring(SIZE)
    source.add(content.blob)
    begun = threading.Semaphore(0)
    with Breaking() as breaking:
        breaking.add(content.blob)
        pull([host_of(breaking), host_of(source)], 0, content, begun)
        assert breaking.sent_bytes > MIB and source.sent_bytes == SIZE - MIB
    assert begun.acquire(blocking=False) and not begun.acquire(blocking=False)


def test_a_client_that_gets_other_bytes_has_failed(source: Source) -> None:
    content = Recurring(SIZE)
    other = Recurring(SIZE).blob
    source.add(Blob(other.body, content.blob.digest, SIZE))
    with pytest.raises(Wrong):
        pull([host_of(source)], 0, content, threading.Semaphore(0))


@pytest.mark.parametrize("expected", [0, SIZE])
def test_a_miss_that_is_none_does_not_count_and_a_hit_neither(source: Source, expected: int) -> None:
    blob = source.add(Recurring(SIZE).blob)
    path = path_of(blob)

    def run() -> float:
        with Connection(host_of(source)) as connection:
            if expected == 0:
                connection.ask("GET", path, 200)
        return 1.0

    with pytest.raises(Refused, match=f"the upstream sent {SIZE - expected} bytes, not {expected}"):
        seen_through(source, expected, run)()
