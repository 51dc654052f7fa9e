"""Mirrors before upstreams that misbehave: nothing wrong is kept, nobody hangs, and it is told who did what.

A real server fetches from real registries, through a proxy that does to their answers what a test says.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.api.client import Answer
from tests.api.contents import OCI_INDEX, Manifest, digest_of, image
from tests.api.registry import Registry, Repository
from tests.api.server import Server
from tests.certificates import self_signed
from tests.e2e import rebinding
from tests.e2e.distribution import Distribution
from tests.e2e.misbehaving import (
    Fault,
    Misbehaving,
    Reply,
    answering,
    endless,
    flipped,
    longer,
    redirecting,
    reset_at,
    shortened,
    silent,
    told,
    trickling,
    truncated,
)
from tests.folders import files_below
from tests.server.conftest import until

MIB = 1 << 20
OPS = re.compile(r"metrics and health: https?://(127\.0\.0\.1:[0-9]+)")
FAILURES = re.compile(
    r'^moorage_upstream_failures_total{cause="(\w+)",upstream="([^"]+)"} (\S+)$', re.MULTILINE
)
QUOTA = 48 * MIB
# What nobody should have to wait for.
SECONDS = 15.0
# Nothing may connect there: of this machine's own addresses, only one is allowed.
FORBIDDEN = "127.0.0.2"
EGRESS = {"allow": ["127.0.0.1/32"]}


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of the mirror, before a proxy before an upstream."""

    name: str
    proxy: Misbehaving
    server: Server

    def here(self, there: Repository) -> Repository:
        """The repository as the mirror has it."""
        return self.server.repository(f"{self.name}/{there.name}")

    @property
    def metrics(self) -> str:
        """What the ops listener tells of the mirror."""
        ops = OPS.findall(self.server.log)[-1]
        return Registry(ops).ask("GET", "/metrics").body.decode()

    @property
    def failures(self) -> Counter[str]:
        """The causes of what the upstream failed for, by the metrics."""
        found = FAILURES.findall(self.metrics)
        return Counter(
            {cause: int(float(value)) for cause, upstream, value in found if upstream == self.proxy.host_port}
        )

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the log says of the upstream."""
        ours = f'"upstream":"{self.proxy.host_port}"'
        return [json.loads(line) for line in self.server.log.splitlines() if ours in line and line[-1] == "}"]

    @contextmanager
    def failing(self, *causes: str) -> Iterator[None]:
        """Within it the upstream fails for these causes alone: log and metric name it, and each of them."""
        lines, failures = len(self.lines), self.failures
        yield
        # Nobody looks for what never was there, or is not any more, in a log.
        logged = set(causes) - {"absent"}
        counted = self.failures - failures
        # Lines come later than answers: the last of them must not be taken for one of what comes next.
        until(
            lambda: len(self.lines) - lines >= sum(counted[cause] for cause in logged),
            "each failure is in the log",
        )
        told = self.lines[lines:]
        assert {line["cause"] for line in told} == logged, told
        assert {line["namespace"] for line in told} <= {self.name}
        assert all(line["reason"] for line in told)
        assert set(self.failures - failures) == set(causes)

    def has(self, here: Repository, digest: str) -> bool:
        """Whether the store has a link to a blob, whatever that one is like."""
        place = f"docker/registry/v2/repositories/{here.name}/_layers/{digest.replace(':', '/')}/link"
        return (self.server.root / place).exists()

    def left(self) -> list[str]:
        """What is left in the store of transfers, be they under way or given up."""
        ours = self.server.root / "_moorage/v1"
        places = [ours / "transfers" / self.name, *ours.glob(f"leases/transfer-{self.name}-*")]
        return [str(path) for place in places for path in files_below(place)]


def settings(name: str, url: str, *, seconds: float = 12, **more: Any) -> dict[str, Any]:
    """A namespace that remembers nothing, and waits for its upstream for so long."""
    times = {"fresh_for": "0s", "absent_for": "0s", "rest_for": "0s"}
    waits = {"give_up_after": f"{seconds}s", "patience": f"{seconds}s"}
    return {"name": name, "upstreams": [{"url": url, **more}], **times, **waits}


@contextmanager
def serving(
    folder: Path,
    mirrors: list[dict[str, Any]],
    root: Path | None = None,
    program: str = "registry.cli",
    **more: Any,
) -> Iterator[Server]:
    """A mirror, on a directory of its own unless another is given."""
    chosen: dict[str, Any] = {"mirrors": mirrors, "egress": EGRESS, "log": {"format": "json"}, **more}
    server = Server(root or folder / "mirror", folder, chosen, program=program)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def moorage(module_folder: Path) -> Iterator[Server]:
    """An upstream that means well."""
    folder = module_folder / "well-meaning"
    folder.mkdir()
    server = Server(folder / "data", folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def distribution3(distribution: Callable[..., Distribution], module_folder: Path) -> Registry:
    """Another one."""
    return Registry(distribution(3, module_folder / "distribution").host_port)


@pytest.fixture(scope="module")
def namespaces(
    moorage: Server, module_folder: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, list[Namespace]]]:
    """One for each test, all of one server: by the names of the fixtures that give them."""
    folder = module_folder / "bad"
    folder.mkdir()
    wanted = [
        (kind, f"{kind}{number}")
        for kind in ("bad", "slow")
        for number, item in enumerate(request.session.items)
        if kind in getattr(item, "fixturenames", ())
    ]
    with ExitStack() as stack:
        proxies = [stack.enter_context(Misbehaving(moorage.registry.host_port)) for _ in wanted]
        mirrors = [
            settings(name, f"http://{proxy.host_port}", seconds=1 if kind == "slow" else 12)
            for (kind, name), proxy in zip(wanted, proxies, strict=True)
        ]
        quotas = [{"prefix": name, "limit": f"{QUOTA}B"} for _, name in wanted]
        server = stack.enter_context(serving(folder, mirrors, quotas=quotas))
        found: dict[str, list[Namespace]] = {"bad": [], "slow": []}
        for (kind, name), proxy in zip(wanted, proxies, strict=True):
            found[kind].append(Namespace(name, proxy, server))
        yield found
        sound(server)


def sound(server: Server) -> None:
    """Nothing that the store has is other than it says, and nothing was an error of ours."""
    for data in (server.root / "docker/registry/v2/blobs").rglob("data"):
        assert hashlib.new(data.parents[2].name, data.read_bytes()).hexdigest() == data.parent.name, data
    checked = server.command("storage", "check", "--hash-blobs", "--json", code=None).out
    # What nobody has asked for yet is not held, and manifests may need it.
    problems = [
        one for one in json.loads(checked)["problems"] if not one["problem"].startswith("missing, and")
    ]
    assert not problems
    assert not server.events("request.failed")


@pytest.fixture
def bad(namespaces: dict[str, list[Namespace]]) -> Iterator[Namespace]:
    """A namespace of the test's own, of which nothing is under way when it ends."""
    namespace = namespaces["bad"].pop()
    yield namespace
    until(lambda: not namespace.left(), "nothing is left of it")


@pytest.fixture
def slow(namespaces: dict[str, list[Namespace]]) -> Iterator[Namespace]:
    """The same, waiting for its upstream for a second."""
    namespace = namespaces["slow"].pop()
    yield namespace
    until(lambda: not namespace.left(), "nothing is left of it")


@pytest.fixture
def there(moorage: Server, repository: str) -> Repository:
    """A repository of the upstream."""
    return moorage.repository(repository)


def whole(repository: Repository, manifest: Manifest, reference: str = "") -> bool:
    """Whether an image can be pulled, and every byte of it is right."""
    answer = repository.get(reference or manifest.digest)
    assert answer.status == 200 and answer.body == manifest.data, answer
    assert answer["Content-Type"] == manifest.media_type
    return all(repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob for blob in manifest.blobs)


def blob(repository: Repository, digest: str) -> bytes | Answer | None:
    """A blob if it came whole, the error if there was one, None if the connection was cut."""
    began = time.monotonic()
    try:
        answer = repository.ask("GET", f"blobs/{digest}")
    except (HTTPException, OSError):
        return None
    finally:
        assert time.monotonic() - began < SECONDS
    return answer.body if answer.status == 200 else answer


def refused(answer: Answer, status: int) -> bool:
    """Whether it is an error that clients understand; one that passes says when to come back."""
    assert answer.status == status and answer.codes, answer
    return status not in (429, 503) or 0 < int(answer["Retry-After"]) <= 3600


def garbage(reply: Reply) -> None:
    """What is not HTTP."""
    reply.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def compressed(reply: Reply) -> None:
    """What nobody asked for."""
    reply.body = gzip.compress(reply.body)
    told(content_length=str(len(reply.body)), content_encoding="gzip")(reply)


def challenging(realm: str) -> Fault:
    """Who are you? Whatever was said."""
    return answering(401, www_authenticate=f'Bearer realm="{realm}",service="registry"')


def elsewhere(realm: str) -> Fault:
    """A challenge of a token service of the proxy's own, or of none."""

    def fault(reply: Reply) -> None:
        challenging(realm.replace("HERE", reply.proxy.host_port))(reply)

    return fault


def again(reply: Reply) -> None:
    """Where it was asked already."""
    redirecting(f"http://{reply.proxy.host_port}{reply.target}")(reply)


MANIFESTS: dict[str, tuple[Fault, str, int]] = {
    "500": (answering(500, b"oh"), "failing", 503),
    "503": (answering(503, retry_after="7"), "failing", 503),
    "404": (answering(404), "absent", 404),
    "403": (answering(403), "refusing", 403),
    "401 loop": (elsewhere("http://HERE/token"), "refusing", 403),
    "401 of the name": (answering(401, www_authenticate='Basic realm="x"'), "refusing", 403),
    "401 without a way": (answering(401), "refusing", 403),
    "realm elsewhere": (elsewhere(f"http://{FORBIDDEN}:1/token"), "lying", 503),
    "realm that is none": (elsewhere("http://["), "lying", 503),
    "type": (told(content_type="text/html"), "lying", 503),
    "other type": (told(content_type=OCI_INDEX), "lying", 503),
    "digest": (flipped, "lying", 503),
    "compressed": (compressed, "lying", 503),
    "endless": (endless(None), "lying", 503),
    "truncated": (truncated(0.5), "unreachable", 503),
    "reset": (reset_at(10), "unreachable", 503),
    "nothing": (lambda reply: None, "unreachable", 503),
    "no http": (garbage, "failing", 503),
    "metadata": (redirecting("http://169.254.169.254/latest/meta-data/"), "barred", 503),
    "loopback": (redirecting(f"http://{FORBIDDEN}:1/"), "barred", 503),
    "circle": (again, "lying", 503),
    "nowhere": (redirecting("http://["), "lying", 503),
}


@pytest.mark.parametrize("fault", MANIFESTS)
def test_manifests(bad: Namespace, there: Repository, fault: str) -> None:
    manifests(bad, there, *MANIFESTS[fault])


@pytest.mark.parametrize("fault", [silent, trickling])
def test_manifests_that_do_not_come(slow: Namespace, there: Repository, fault: Fault) -> None:
    manifests(slow, there, fault, "slow", 503)


def manifests(bad: Namespace, there: Repository, doing: Fault, cause: str, status: int) -> None:
    """What is held of a repository is given while its upstream fails so, and nothing else."""
    old, new = there.push(image(), "v1"), image()
    here = bad.here(there)
    assert whole(here, old, "v1")
    there.push(new, "v1")
    began = time.monotonic()
    with bad.failing(cause), bad.proxy.doing(doing, "/manifests/"):
        # What is held is given, and it is said why.
        answer = here.get("v1")
        assert answer.status == 200 and answer.body == old.data
        assert re.fullmatch(r'299 - "given from what is held here: [^"]+"', answer["Warning"])
        # What is not is an error, under its tag and by its digest.
        there.push(image(), "v2")
        with ThreadPoolExecutor(2) as threads:
            assert all(refused(answer, status) for answer in threads.map(here.get, ["v2", new.digest]))
    assert time.monotonic() - began < SECONDS
    assert here.ask("HEAD", f"manifests/{new.digest}").status == 200, "nothing of it is remembered"
    answer = here.get("v1")
    assert answer.body == new.data and answer.get("Warning") is None
    assert whole(here, new, "v1")


BLOBS: dict[str, tuple[Fault, set[str]]] = {
    "wrong digest": (flipped, {"lying"}),
    "short": (shortened(0.5), {"lying"}),
    "shorter than what is kept back": (shortened(0.001), {"lying"}),
    "empty": (shortened(0), {"lying"}),
    "longer": (longer(MIB), {"unreachable", "lying"}),
    "chunked without end": (endless(None), {"lying"}),
    "zeros": (endless(20 * MIB), {"lying"}),
    "truncated": (truncated(0.1), {"unreachable"}),
    "truncated at once": (truncated(0), {"unreachable"}),
    "compressed": (compressed, {"lying"}),
    "500": (answering(500), {"failing"}),
    "404": (answering(404), {"absent"}),
    "401 loop": (elsewhere("http://HERE/token"), {"refusing"}),
    "metadata": (redirecting("http://169.254.169.254/latest/meta-data/"), {"barred"}),
    "loopback": (redirecting(f"http://{FORBIDDEN}:1/"), {"barred"}),
    "circle": (again, {"lying"}),
}


@pytest.mark.parametrize("fault", BLOBS)
def test_blobs(bad: Namespace, there: Repository, fault: str) -> None:
    blobs(bad, there, *BLOBS[fault])


@pytest.mark.parametrize("fault", [silent, trickling])
def test_blobs_that_do_not_come(slow: Namespace, there: Repository, fault: Fault) -> None:
    blobs(slow, there, fault, {"slow"})


def blobs(bad: Namespace, there: Repository, doing: Fault, causes: set[str]) -> None:
    """No client takes for whole what its upstream gives so, and the next one gets it right."""
    made = there.push(image([os.urandom(3 * MIB), os.urandom(1000)]), "v1")
    here = bad.here(there)
    digests = [digest_of(layer) for layer in made.blobs[1:]]
    with bad.failing(*causes), bad.proxy.doing(doing, "/blobs/"):
        assert here.get("v1").body == made.data
        with ThreadPoolExecutor(4) as threads:
            # Those who join are told the same.
            for found in threads.map(lambda digest: blob(here, digest), digests * 2):
                assert found is None or (isinstance(found, Answer) and refused(found, found.status))
        assert not any(bad.has(here, digest) for digest in digests)
    assert whole(here, made, "v1")
    assert all(bad.has(here, digest) for digest in digests)
    asked = len(bad.proxy.requests)
    assert whole(here, made)
    assert len(bad.proxy.requests) == asked, "what is held needs nobody"


@pytest.mark.parametrize("kind", ["moorage", "distribution"])
def test_a_connection_that_breaks_and_breaks_again(
    bad: Namespace, moorage: Server, distribution3: Registry, repository: str, kind: str
) -> None:
    upstream = moorage.registry if kind == "moorage" else distribution3
    bad.proxy.upstream = upstream.host_port
    layer = os.urandom(10 * MIB)
    made = upstream.repository(repository).push(image([layer]), "v1")
    pattern = f"/blobs/{digest_of(layer)}"
    with (
        bad.failing("unreachable"),
        bad.proxy.doing(reset_at(6 * MIB), pattern, times=1),
        bad.proxy.doing(reset_at(9 * MIB), pattern, times=1),
    ):
        assert whole(bad.here(upstream.repository(repository)), made, "v1"), "its client notices nothing"
    assert bad.proxy.asked(pattern) == 3
    first, second = bad.proxy.ranges
    assert 0 < first <= 6 * MIB and first < second <= 9 * MIB, "what has come does not come again"


def test_another_range_than_was_asked_for(bad: Namespace, there: Repository) -> None:
    layer = os.urandom(4 * MIB)
    made = there.push(image([layer]), "v1")
    here, pattern = bad.here(there), f"/blobs/{digest_of(layer)}"
    for wrong in ("bytes 0-9/10", "bytes 1-2/*", "pages 1-2/3"):
        with (
            bad.failing("unreachable", "lying"),
            bad.proxy.doing(truncated(0.5), pattern, times=1),
            bad.proxy.doing(told(content_range=wrong), pattern),
        ):
            assert blob(here, digest_of(layer)) is None
        assert not bad.has(here, digest_of(layer))
    assert whole(here, made, "v1")


def test_more_than_a_quota_lets_in(bad: Namespace, there: Repository) -> None:
    layer = os.urandom(1000)
    made = there.push(image([layer]), "v1")
    here = bad.here(there)
    with bad.failing(), bad.proxy.doing(endless(1 << 40), "/blobs/"):
        found = blob(here, digest_of(layer))
        assert isinstance(found, Answer) and refused(found, 403)
        assert not bad.left(), "nothing of it was stored"
    assert whole(here, made, "v1")


def free_on_both() -> socket.socket:
    """A listener there, whose port somebody else can still have at 127.0.0.1."""
    for _ in range(100):
        listener = socket.create_server((FORBIDDEN, 0))
        try:
            socket.create_server(("127.0.0.1", listener.getsockname()[1])).close()
        except OSError:
            listener.close()
            continue
        return listener
    raise AssertionError("no port is free at both addresses")


class Thief:
    """Listens where nobody may connect to, and waits for somebody who does."""

    def __init__(self) -> None:
        self._listener = free_on_both()
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.host_port = f"{FORBIDDEN}:{self.port}"

    def was_met(self) -> bool:
        """Whether anybody came."""
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


@pytest.fixture
def thief() -> Iterator[Thief]:
    """Somebody on this machine who is not to be met."""
    made = Thief()
    with socket.create_connection((FORBIDDEN, made.port)):
        assert made.was_met()
    yield made
    made.close()


def test_nobody_is_sent_to_who_may_not_be_asked(bad: Namespace, there: Repository, thief: Thief) -> None:
    made = there.push(image(), "v1")
    here = bad.here(there)
    for fault, pattern, cause in (
        (elsewhere(f"http://{thief.host_port}/token"), "/manifests/", "lying"),
        (redirecting(f"http://{thief.host_port}/"), "/manifests/", "barred"),
    ):
        with bad.failing(cause), bad.proxy.doing(fault, pattern):
            assert refused(here.get("v1"), 503)
    assert here.get("v1").body == made.data
    for fault, cause in (
        (elsewhere(f"http://{thief.host_port}/token"), "lying"),
        (redirecting(f"http://{thief.host_port}/"), "barred"),
    ):
        with bad.failing(cause), bad.proxy.doing(fault, "/blobs/"):
            found = blob(here, digest_of(made.blobs[0]))
            assert isinstance(found, Answer) and refused(found, 503)
    with (
        bad.failing("lying"),
        bad.proxy.doing(told(link=f'<http://{thief.host_port}/>; rel="next"'), "/tags/"),
    ):
        assert here.tags() == ["v1"]
    assert whole(here, made, "v1")
    assert not thief.was_met()


def test_a_name_that_leads_elsewhere_the_second_time(
    moorage: Server, there: Repository, thief: Thief, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = there.push(image(), "v1"), image()
    monkeypatch.setenv(rebinding.ADDRESSES, f"127.0.0.1 {FORBIDDEN}")
    port = thief.port
    with (
        Misbehaving(moorage.registry.host_port, port=port) as proxy,
        serving(
            scratch,
            [settings("up", f"http://{rebinding.NAME}:{port}")],
            program="tests.e2e.rebinding",
        ) as server,
    ):
        here = server.repository(f"up/{there.name}")
        assert here.get("v1").body == old.data
        there.push(new, "v1")
        answer = here.get("v1")
        assert answer.body == old.data and "this machine itself" in answer["Warning"]
        assert refused(here.get(new.digest), 503)
        assert len(proxy.requests) == 1 and not thief.was_met()
        until(lambda: len(server.events("upstream.failed")) == 2, "both have failed")
        assert {line["upstream"] for line in server.events("upstream.failed")} == {f"{rebinding.NAME}:{port}"}
        sound(server)


def paged(tags: list[str], page: int, broken: Fault | None = None, at: int = -1) -> Fault:
    """A list in pages, one of which is broken."""

    def fault(reply: Reply) -> None:
        last = re.search("last=([^&]*)", reply.target)
        start = 0 if last is None else tags.index(last[1]) + 1
        found = tags[start : start + page]
        reply.status, reply.body = 200, json.dumps({"name": "x", "tags": found}).encode()
        reply.headers = {"content-type": "application/json", "content-length": str(len(reply.body))}
        if start + page < len(tags):
            path = reply.target.partition("?")[0]
            reply.headers["link"] = f'<{path}?n={page}&last={found[-1]}>; rel="next"'
        (broken if broken is not None and start == at * page else Reply.send)(reply)

    return fault


def test_ten_thousand_tags_in_a_hundred_pages(bad: Namespace, there: Repository, repository: str) -> None:
    there.push(image(), "held")
    here = bad.here(there)
    tags = [f"t{number:05d}" for number in range(10_000)]
    assert here.get("held").status == 200
    with bad.failing(), bad.proxy.doing(paged(tags, 100), "/tags/list"):
        assert here.tags() == sorted([*tags, "held"])
    with bad.failing("lying"), bad.proxy.doing(paged(tags, 100, told(link="<"), 56), "/tags/list"):
        answer = here.ask("GET", "tags/list")
        assert answer.json()["tags"] == ["held"] and "Link to the next page" in answer["Warning"]
    assert bad.proxy.asked("/tags/list") == 157
    for broken, cause in (
        (told(link=f'<http://{FORBIDDEN}:1/v2/x/tags/list?last=b>; rel="next"'), "lying"),
        (told(link='<http://[>; rel="next"'), "lying"),
        (told(link=f'</v2/{there.name}/tags/list?n=1000>; rel="next"'), "lying"),
        (shortened(0.5), "lying"),
        (truncated(0.5), "unreachable"),
        (answering(500), "failing"),
    ):
        with bad.failing(cause), bad.proxy.doing(paged(list("abcd"), 1, broken, 2), "/tags/list"):
            assert here.tags() == ["held"], "no part of it is taken for the whole"
            # Nobody is told that there is no such repository.
            assert refused(bad.server.repository(f"{bad.name}/unheld").ask("GET", "tags/list"), 503)
    assert here.tags() == ["held"] and here.ask("GET", "tags/list").get("Warning") is None


@pytest.mark.parametrize(
    "when",
    [
        {"retry_after": "2"},
        {"retry_after": "Mon, 01 Jan 2001 00:00:02 GMT", "date": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ],
    ids=["seconds", "by a clock that is wrong"],
)
def test_too_many_requests_with_a_time(bad: Namespace, there: Repository, when: dict[str, str]) -> None:
    old, new = there.push(image(), "v1"), image()
    here = bad.here(there)
    assert whole(here, old, "v1")
    there.push(new, "v1")
    with bad.failing("limited"), bad.proxy.doing(answering(429, b"", **when), "/manifests/", method=""):
        answer = here.get("v1")
        assert answer.body == old.data and "429" in answer["Warning"]
        asked = len(bad.proxy.requests)
        answer = here.get(new.digest)
        assert refused(answer, 429) and int(answer["Retry-After"]) <= 2
        assert len(bad.proxy.requests) == asked, "it is left alone"
    until(lambda: here.get("v1").body == new.data, "the tag has moved")
    assert whole(here, new, "v1")


def test_how_much_may_still_be_asked_for_is_told(bad: Namespace, there: Repository) -> None:
    there.push(image(), "v1")
    here = bad.here(there)
    told_so = re.compile(r"^moorage_upstream_remaining{(.*)} (\S+)$", re.MULTILINE)
    labels = f'namespace="{bad.name}",upstream="{bad.proxy.host_port}"'
    for left in ("76", "75"):
        limits = told(ratelimit_limit="100;w=21600", ratelimit_remaining=f"{left};w=21600")
        with bad.proxy.doing(limits, "/manifests/", method=""):
            assert here.get("v1").status == 200
        assert dict(told_so.findall(bad.metrics))[labels] == f"{left}.0"
    with bad.proxy.doing(told(ratelimit_limit="many", ratelimit_remaining="few"), "/manifests/", method=""):
        assert here.get("v1").status == 200
    assert dict(told_so.findall(bad.metrics))[labels] == "75.0"


def test_how_much_of_what_is_pulled_is_held_is_told(bad: Namespace, there: Repository) -> None:
    pushed = there.push(image(), "v1")
    here, layer = bad.here(there), pushed.blobs[1]
    told_so = re.compile(
        rf'^moorage_mirror_(\w+)_total{{(.*?),?namespace="{bad.name}"(.*)}} (\S+)$', re.MULTILINE
    )

    def figures() -> Counter[str]:
        found = told_so.findall(bad.metrics)
        return Counter({f"{name} {kind}{source}": int(float(figure)) for name, kind, source, figure in found})

    def since() -> dict[str, int]:
        return dict(figures() - before)

    before = figures()
    assert here.get("v1").body == pushed.data
    assert blob(here, digest_of(layer)) == layer
    came = {
        'given kind="manifest",source="upstream"': 1,
        'given kind="blob",source="upstream"': 1,
        "fetched_bytes ": len(layer),
    }
    assert since() == came
    assert here.get("v1").body == here.get(pushed.digest).body == pushed.data
    assert since() == {**came, 'given kind="manifest",source="held"': 2}
    until(
        lambda: (
            blob(here, digest_of(layer)) == layer and since().get('given kind="blob",source="held"', 0) > 0
        ),
        "the blob is held",
    )


def test_too_many_requests_without_a_time(bad: Namespace, there: Repository, scratch: Path) -> None:
    old, new = there.push(image(), "v1"), image()
    here = bad.here(there)
    assert whole(here, old, "v1")
    there.push(new, "v1")
    with bad.failing("limited"), bad.proxy.doing(answering(429), "/manifests/", method="", times=2):
        assert here.get("v1").body == old.data
        answer = here.get(new.digest)
        assert refused(answer, 429) and 30 < int(answer["Retry-After"]) <= 60
    assert bad.proxy.asked("/manifests/", "HEAD") == 1 and bad.proxy.asked(new.digest) == 0
    # Another server of the same store was told nothing of the kind.
    with serving(
        scratch, [settings(bad.name, f"http://{bad.proxy.host_port}")], root=bad.server.root
    ) as other:
        assert whole(other.repository(here.name), new, "v1")


def test_an_image_that_is_replaced_between_its_manifest_and_its_blobs(
    bad: Namespace, there: Repository
) -> None:
    old = there.push(image(), "v1")
    here = bad.here(there)
    assert here.get("v1").body == old.data
    new = there.push(image(), "v1")
    for gone in (f"manifests/{old.digest}", *(f"blobs/{digest_of(blob)}" for blob in old.blobs)):
        assert there.ask("DELETE", gone).status == 202
    with bad.failing("absent"):
        found = blob(here, digest_of(old.blobs[1]))
        assert isinstance(found, Answer) and refused(found, 404)
    # Whoever pulls again has the new one, and what is held of the old one stays.
    assert whole(here, new, "v1")
    assert here.get(old.digest).body == old.data


@pytest.mark.parametrize("lie", ["0", "-5", "1e999", "1" + "0" * 400, '"x"', "null", "true", "86400"])
def test_tokens_that_are_good_for_another_time_than_they_say(
    bad: Namespace, there: Repository, lie: str
) -> None:
    issued: list[str] = []

    def token(reply: Reply) -> None:
        issued.append(f"Bearer {os.urandom(8).hex()}")
        content = f'{{"token": "{issued[-1][7:]}", "issued_at": "2001-01-01T00:00:00Z", "expires_in": {lie}}}'
        answering(200, content.encode(), content_type="application/json")(reply)

    def guarded(reply: Reply) -> None:
        # Each is good for two requests, whatever it says.
        shown = reply.asked.get("authorization")
        if shown in issued[-1:] and spent[shown] < 2:
            spent[shown] += 1
            reply.send()
        else:
            elsewhere("http://HERE/token")(reply)

    spent: Counter[str] = Counter()
    made = there.push(image([os.urandom(10), os.urandom(10)]), "v1")
    with bad.failing(), bad.proxy.doing(token, "/token"), bad.proxy.doing(guarded, "/v2/", method=""):
        assert whole(bad.here(there), made, "v1")
        assert whole(bad.here(there), made, "v1")
    assert 2 <= len(issued) <= 5


def test_a_clock_that_is_wrong(bad: Namespace, there: Repository) -> None:
    long_ago = "Mon, 01 Jan 2001 00:00:00 GMT"
    for date in (long_ago, "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday"):
        made = there.push(image(), "v1")
        wrong = told(date=date, expires=long_ago, last_modified=date, age="999999999")
        with bad.failing(), bad.proxy.doing(wrong, "/v2/", method=""):
            assert whole(bad.here(there), made, "v1")


def test_a_certificate_that_is_not_its_own(moorage: Server, there: Repository, scratch: Path) -> None:
    pairs = {
        "good": self_signed("here.example", hosts=("127.0.0.1",)),
        "name": self_signed("other.example", hosts=("other.example", "127.0.0.3")),
        "not yet": self_signed(
            "here.example", hosts=("127.0.0.1",), begins=timedelta(days=1), ends=timedelta(days=2)
        ),
    }
    believed = scratch / "believed.crt"
    believed.write_bytes(b"".join(pair.pem for pair in pairs.values()))
    contexts = {}
    for name, pair in pairs.items():
        (scratch / name).mkdir()
        files = pair.write(scratch / name)
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(files["certificate"], files["key"])
    old, new = there.push(image(), "v1"), image()
    with (
        Misbehaving(moorage.registry.host_port, tls=contexts["good"]) as proxy,
        serving(scratch, [settings("up", f"https://{proxy.host_port}", ca_file=str(believed))]) as server,
    ):
        bad = Namespace("up", proxy, server)
        here = bad.here(there)
        assert whole(here, old, "v1")
        there.push(new, "v1")
        asked = len(proxy.requests)
        for wrong in ("name", "not yet"):
            proxy.tls = contexts[wrong]
            with bad.failing("unreachable"):
                answer = here.get("v1")
                assert answer.body == old.data and "its certificate is not trusted" in answer["Warning"]
                assert refused(here.get(new.digest), 503)
        assert len(proxy.requests) == asked
        proxy.tls = contexts["good"]
        assert whole(here, new, "v1")
        sound(server)
