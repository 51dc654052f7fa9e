"""A real store behind a network that does its worst: what clients see, and that nothing of it stays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from time import monotonic

import pytest

from tests.api.client import Answer
from tests.api.contents import Manifest, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.e2e.buckets import files_and_threads, serve, told_to_come_back
from tests.e2e.ceph import Ceph
from tests.e2e.client import Client
from tests.e2e.images import NewImage, write_layout
from tests.e2e.wire import Wire
from tests.storage.buckets import Bucket, client_of
from tests.storage.misbehaving import Fault, Proxy, Rule, proxy_of

MIB = 1 << 20
ALL = 1_000_000


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> Bucket:
    return Bucket(client_of(ceph.endpoint), "registries/faults")


@pytest.fixture(scope="module")
def network(ceph: Ceph) -> Iterator[Proxy]:
    """What stands between the servers and the store."""
    with proxy_of(ceph.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(network: Proxy) -> Iterator[Proxy]:
    """The same, which leaves alone what comes after the test."""
    network.seen.clear()
    network.struck.clear()
    network.held.clear()
    network.go_on.clear()
    yield network
    network.rules.clear()
    network.go_on.set()


@pytest.fixture(scope="module")
def patient(bucket: Bucket, network: Proxy, session_folder: Path) -> Iterator[Server]:
    """One with the settings that there are by default."""
    started = serve(bucket, session_folder, {"storage": {"s3": {"endpoint": network.endpoint}}})
    yield started
    started.stop()


@pytest.fixture(scope="module")
def server(bucket: Bucket, network: Proxy, patient: Server, session_folder: Path) -> Iterator[Server]:
    """One for all, since nothing may have to be started anew; it does not wait for as long as others.

    Ceph takes seconds for what it does first in a new bucket, which is the other server's.
    """
    quick = {"endpoint": network.endpoint, "read_timeout_seconds": 4, "part_bytes": "5MiB"}
    started = serve(bucket, session_folder, {"storage": {"s3": quick}})
    yield started
    started.stop()


@pytest.fixture
def mine(server: Server, repository: str) -> Repository:
    """A repository of the server."""
    return server.repository(repository)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For what is asked at the same time."""
    with ThreadPoolExecutor(40) as executor:
        yield executor


def data_of(digest: str) -> str:
    """What the names of a blob's bytes in the bucket have in them."""
    return f"{digest.removeprefix('sha256:')}/data"


def requests(repository: Repository, manifest: Manifest) -> dict[str, Callable[[], Answer]]:
    """What a client may ask for; `manifest` is there as v1."""
    blob = f"blobs/{digest_of(manifest.blobs[1])}"
    return {
        "pull a manifest": lambda: repository.get("v1"),
        "pull a blob": lambda: repository.ask("GET", blob),
        "list tags": lambda: repository.ask("GET", "tags/list"),
        "list repositories": lambda: repository.registry.ask("GET", "/v2/_catalog"),
        "begin an upload": lambda: repository.ask("POST", "blobs/uploads/"),
        "push a blob": lambda: repository.ask(
            "POST", f"blobs/uploads/?digest={digest_of(b'unseen')}", body=b"unseen"
        ),
        "push a manifest": lambda: repository.put(manifest, "v2"),
        "delete": lambda: repository.ask("DELETE", "manifests/v1"),
    }


@pytest.mark.parametrize("fault", [503, "reset", "expired"])
def test_while_it_lasts_clients_are_told_to_come_back(
    mine: Repository, bucket: Bucket, proxy: Proxy, threads: ThreadPoolExecutor, fault: Fault
) -> None:
    manifest = mine.push(image([os.urandom(MIB)]), "v1")
    # Whatever is carried out before its answer is lost, a client that is told nothing may do again.
    harmless = {name: ask for name, ask in requests(mine, manifest).items() if name != "delete"}
    before = bucket.names()
    proxy.rules.append(Rule("", "", fault, times=ALL))
    answers = {name: threads.submit(ask) for name, ask in harmless.items()}
    for name, answer in answers.items():
        assert told_to_come_back(answer.result(30)), name
    assert mine.ask("HEAD", "manifests/v1").status == 503
    proxy.rules.clear()
    # Recovered, without a restart, and nothing is lost or half there.
    assert mine.get("v1").body == manifest.data
    assert mine.tags() == ["v1"]
    assert mine.ask("HEAD", f"blobs/{digest_of(b'unseen')}").status == 404
    if fault in (503, "expired"):
        left = bucket.names() - before
        assert not left, "of what did not get through"
    assert not bucket.uploads()
    for name, ask in requests(mine, manifest).items():
        assert ask().status < 300, name


ROUGH: tuple[tuple[str, str, Fault], ...] = (
    ("POST", "uploadId", "lose"),
    ("POST", "uploads", 503),
    ("PUT", "partNumber=1", "reset"),
    ("PUT", "partNumber=2", 503),
    ("PUT", "partNumber=2", "drop"),
    ("PUT", "/chunk-", "lose"),
    ("PUT", "/link", "lose"),
    ("PUT", "/history/", 500),
    ("PUT", "/intents/", "reset"),
    ("HEAD", "/data", 503),
    ("GET", "/link", "truncate"),
    ("GET", "/data", "truncate"),
    ("GET", "/data", "reset"),
    ("GET", "", 503),
    ("DELETE", "", "lose"),
    ("POST", "delete", "reset"),
)


def test_crane_notices_nothing_of_a_rough_network(
    server: Server,
    patient: Server,
    bucket: Bucket,
    proxy: Proxy,
    crane: Client,
    repository: str,
    new_image: NewImage,
) -> None:
    made, reference = new_image(random_bytes=12 * MIB), f"{server.registry.host_port}/{repository}:1"
    proxy.rules += [Rule(method, word, fault, skip=skip) for method, word, fault in ROUGH for skip in (0, 2)]
    crane("push", write_layout(made, crane.scratch()), reference)
    met = {rule.fault for rule in proxy.rules if not rule.times}
    assert met >= {"lose", "reset", "drop", 500, 503}, met
    back = crane.scratch()
    crane("pull", "--format=oci", reference, back)
    assert "truncate" in {rule.fault for rule in proxy.rules if not rule.times}
    proxy.rules.clear()
    kept = {f"{path.parent.name}:{path.name}" for path in back.glob("blobs/*/*")}
    assert kept == {content.digest for content in made.contents}
    # So another server finds it, and every byte.
    assert Wire(patient.registry.host_port).whole(repository, "1") == kept
    assert not bucket.uploads()


def test_what_takes_too_long_is_given_up_and_holds_up_nobody(
    mine: Repository, bucket: Bucket, proxy: Proxy, threads: ThreadPoolExecutor
) -> None:
    manifest = mine.push(image([os.urandom(MIB)]), "v1")
    other = mine.push(image([os.urandom(MIB)]), "v2")
    held = digest_of(manifest.blobs[1])
    proxy.rules += [Rule("GET", data_of(held), "hold", times=ALL), Rule("PUT", "/chunk-", "hold", times=ALL)]
    began = monotonic()
    pull = threads.submit(mine.ask, "GET", f"blobs/{held}")
    push = threads.submit(mine.registry.ask, "PATCH", mine.begin(), (), b"x" * MIB)
    while not (pull.done() and push.done()):
        assert mine.get("v2").body == other.data
        assert mine.ask("GET", f"blobs/{digest_of(other.blobs[1])}").body == other.blobs[1]
    assert told_to_come_back(pull.result()) and told_to_come_back(push.result())
    assert monotonic() - began < 12
    proxy.rules.clear()
    proxy.go_on.set()
    assert mine.ask("GET", f"blobs/{held}").body == manifest.blobs[1]
    mine.push_blob(b"x" * MIB)
    assert not bucket.uploads()


def test_by_default_a_store_that_hangs_is_waited_for_by_those_alone_who_need_it(
    patient: Server, repository: str, proxy: Proxy, threads: ThreadPoolExecutor
) -> None:
    mine = patient.repository(repository)
    manifest = mine.push(image([os.urandom(MIB)]), "v1")
    digest = digest_of(manifest.blobs[1])
    hung = Rule("GET", "/tags/hung-", "hold", times=ALL)
    proxy.rules.append(hung)

    def hang(count: int, first: int) -> list[Future[Answer]]:
        found = [threads.submit(mine.get, f"hung-{number}") for number in range(first, first + count)]
        while sum("/tags/hung-" in one for one in proxy.seen) < min(16, first + count):
            assert not any(one.done() for one in found)
        return found

    # With as many as there are threads for metadata but one, all else goes on.
    waiting = hang(15, 0)
    assert mine.get("v1").body == manifest.data
    assert mine.ask("GET", f"blobs/{digest}").body == manifest.blobs[1]
    mine.push_blob(os.urandom(100))
    assert not any(one.done() for one in waiting)
    # With all of them others are told, long before the store is given up.
    waiting += hang(1, 15)
    began = monotonic()
    assert told_to_come_back(mine.get("v1"))
    assert 4 < monotonic() - began < 20
    proxy.go_on.set()
    proxy.rules.clear()
    assert {one.result(30).status for one in waiting} == {404}, "there are no such tags"
    assert mine.get("v1").body == manifest.data


def next_refusal(server: Server, told: int) -> str:
    """The reason in the line behind so many; a thread of the server's own writes the log."""
    until = monotonic() + 10
    while len(server.events("request.refused")) == told and monotonic() < until:
        pass
    (line,) = server.events("request.refused")[told:]
    return str(line["reason"])


def test_a_body_that_ends_early_is_whole_or_breaks(server: Server, mine: Repository, proxy: Proxy) -> None:
    manifest = mine.push(image([os.urandom(4 * MIB)]), "v1")
    digest = digest_of(manifest.blobs[1])
    proxy.rules.append(Rule("GET", data_of(digest), "truncate", times=3))
    assert mine.ask("GET", f"blobs/{digest}").body == manifest.blobs[1]
    asked = mine.ask("GET", f"blobs/{digest}", {"Range": "bytes=1000-3000000"})
    assert asked.body == manifest.blobs[1][1000:3000001]
    proxy.rules[:] = [Rule("GET", data_of(digest), "truncate", times=ALL)]
    whole = len(manifest.blobs[1])
    # Half of what is missing comes each time, and the last bytes never.
    told, failed = len(server.events("request.refused")), server.events("request.failed")
    with pytest.raises((IncompleteRead, ConnectionError)):
        mine.ask("GET", f"blobs/{digest}")
    assert "connection to the store failed" in next_refusal(server, told)
    proxy.rules[:] = [Rule("GET", "/link", "truncate", times=ALL)]
    assert told_to_come_back(mine.get("v1"))
    next_refusal(server, told + 1)
    assert failed == server.events("request.failed"), "nothing was an error of ours"
    proxy.rules.clear()
    assert len(mine.ask("GET", f"blobs/{digest}").body) == whole
    assert mine.get("v1").body == manifest.data


def test_a_conditional_put_whose_answer_is_lost_is_not_made_twice(
    mine: Repository, bucket: Bucket, proxy: Proxy
) -> None:
    data = os.urandom(MIB)
    location = mine.begin()
    proxy.rules.append(Rule("PUT", "/chunk-", "lose"))
    answer = mine.registry.ask("PATCH", location, (), data)
    assert answer.status == 202, answer
    assert sum(one.startswith("PUT") and "/chunk-" in one for one in proxy.seen) == 1
    assert mine.close(location, digest_of(data)).status == 201
    assert mine.ask("GET", f"blobs/{digest_of(data)}").body == data


def test_a_push_that_fails_shows_nothing(mine: Repository, bucket: Bucket, proxy: Proxy) -> None:
    data = os.urandom(16 * MIB)
    digest = digest_of(data)
    for fault in ("reset", 503):
        proxy.rules.append(Rule("PUT", "partNumber=2", fault, times=ALL))
        answer = mine.ask("POST", f"blobs/uploads/?digest={digest}", (), data)
        assert told_to_come_back(answer)
        proxy.rules.clear()
        assert mine.ask("GET", f"blobs/{digest}").status == 404
        assert not any(data_of(digest) in name for name in bucket.names())
        assert not bucket.uploads()
    assert mine.push_blob(data) == digest


@pytest.mark.parametrize("header", ["content-length", "last-modified", "etag"])
def test_what_the_store_leaves_out_is_in_the_log(
    server: Server, mine: Repository, proxy: Proxy, header: str
) -> None:
    digest = mine.push_blob(os.urandom(MIB))
    told, failed = len(server.events("request.refused")), server.events("request.failed")
    proxy.rules.append(Rule("GET", data_of(digest), "strip", times=ALL, headers=[header]))
    assert told_to_come_back(mine.ask("GET", f"blobs/{digest}"))
    reason = next_refusal(server, told)
    assert f"without {header}" in reason.lower() and "storage.s3.endpoint" in reason
    assert failed == server.events("request.failed"), "it is no error of ours"
    proxy.rules.clear()
    assert mine.ask("GET", f"blobs/{digest}").status == 200


def test_keys_that_are_replaced_are_taken_up(
    ceph: Ceph, bucket: Bucket, scratch: Path, repository: str
) -> None:
    server = serve(bucket, scratch)
    try:
        mine = server.repository(repository)
        manifest = mine.push(image([os.urandom(1000)]), "v1")
        with ceph.other_keys(scratch / "access.key", scratch / "secret.key"):
            assert mine.get("v1").body == manifest.data, "with the new ones"
            assert mine.put(manifest, "v2").status == 201
        assert mine.tags() == ["v1", "v2"], "and with the old ones again"
    finally:
        server.stop()


def test_nothing_is_left_of_faults(
    server: Server, mine: Repository, bucket: Bucket, proxy: Proxy, threads: ThreadPoolExecutor
) -> None:
    manifest = mine.push(image([os.urandom(6 * MIB)]), "v1")
    digest = digest_of(manifest.blobs[1])

    def ask(number: int) -> None:
        with suppress(AssertionError, IncompleteRead, ConnectionError):
            if number % 2:
                mine.push_blob(os.urandom(6 * MIB))
            else:
                mine.ask("GET", f"blobs/{digest}")

    def suffer(*faults: Fault) -> None:
        for fault in faults:
            # One of three, so that some come through and others do not.
            proxy.rules += [Rule("", "", fault, skip=skip) for skip in range(0, 300, 3)]
            list(threads.map(ask, range(6)))
            proxy.rules.clear()

    suffer("reset")
    before = files_and_threads(server)
    suffer("lose", "truncate", "reset")
    after = files_and_threads(server)
    assert after[0] <= before[0] + 4 and after[1] <= before[1] + 2, (before, after)
    in_vain = [one for one in proxy.struck if one.startswith("POST") and one.endswith("?uploads")]
    assert len(bucket.uploads()) <= len(in_vain), "only what was begun and never told, which the sweep finds"
    assert mine.get("v1").body == manifest.data
    checked = server.command("storage", "check", "--hash-blobs", "--json").out
    assert '"problems":[]' in checked.replace(" ", ""), checked
