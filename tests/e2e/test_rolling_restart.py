"""An upgrade under load: servers restart one after another while clients push and pull, and none notices."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.api.contents import digest_of
from tests.api.server import Server
from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker
from tests.e2e.docker_suite import runs
from tests.e2e.images import NewImage, write_layout
from tests.e2e.processes import free_port
from tests.e2e.proxies import PROXIES, Proxy, running
from tests.e2e.wire import Wire
from tests.e2e.workers import workers
from tests.server.conftest import until

ROUNDS = 2
SETTINGS = {"drain_seconds": 2}
RULES = "- {who: anonymous, repositories: ['**'], may: [pull, push, list]}\n"


class Loop(threading.Thread):
    """Does one thing again and again until told to end; the first time that fails is the last."""

    def __init__(self, step: Callable[[int], None]) -> None:
        super().__init__()
        self._step = step
        self._over = threading.Event()
        self.done = 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        """Until told to end."""
        try:
            while not self._over.is_set():
                self._step(self.done)
                self.done += 1
        except BaseException as problem:  # noqa: BLE001 (raised again where the loops are watched)
            self.problem = problem

    def end(self) -> None:
        """After the step that it is at."""
        self._over.set()
        self.join()


@contextlib.contextmanager
def looping(*steps: Callable[[int], None]) -> Iterator[Callable[[], None]]:
    """Loops at work; what is yielded waits until each has ended one more step, or failed."""
    loops = [Loop(step) for step in steps]

    def another() -> None:
        wanted = [loop.done + 1 for loop in loops]
        for loop, count in zip(loops, wanted, strict=True):
            while loop.done < count and loop.is_alive():
                loop.join(timeout=0.05)
            if loop.problem is not None:
                raise loop.problem

    for loop in loops:
        loop.start()
    try:
        yield another
    finally:
        for loop in loops:
            loop.end()
    for loop in loops:
        if loop.problem is not None:
            raise loop.problem


def docker_goes(docker: Docker, place: str, new_image: NewImage) -> Callable[[int], None]:
    """A new image: pushed, forgotten, pulled, and run."""

    def step(number: int) -> None:
        image, reference = new_image(random_bytes=2 << 20), f"{place}/rolling/docker:{number}"
        docker.load(image, reference)
        docker.push(reference)
        docker("rmi", reference)
        docker("pull", reference)
        assert runs(docker, reference, image)
        docker("rmi", reference)

    return step


def skopeo_goes(skopeo: Client, place: str, new_image: NewImage) -> Callable[[int], None]:
    """A new image, there and back."""

    def step(number: int) -> None:
        image, there = new_image(), f"docker://{place}/rolling/skopeo:{number}"
        source, back = write_layout(image, skopeo.scratch()), skopeo.scratch()
        skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:1", there)
        skopeo("copy", "--src-tls-verify=false", there, f"oci:{back}:1")
        assert len(list(back.glob("blobs/*/*"))) == len(image.contents)

    return step


def http_goes(proxy: Proxy) -> Callable[[int], None]:
    """An upload in pieces on one connection, each as it comes; no answer may be an error."""

    def step(number: int) -> None:
        pieces = [os.urandom(300_000) for _ in range(6)]
        with proxy.connect() as connection:

            def ask(method: str, target: str, body: object = None, **headers: str) -> tuple[str, bytes]:
                connection.request(method, target, body, headers, encode_chunked=True)  # type: ignore[arg-type]
                answer = connection.getresponse()
                read = answer.read()
                assert answer.status in (200, 201, 202), (method, target, answer.status, read)
                return answer.headers.get("Location", ""), read

            location, _ = ask("POST", "/v2/rolling/http/blobs/uploads/")
            for chunk in (pieces[:2], pieces[2:4], pieces[4:]):
                ask("PATCH", location, iter(chunk), **{"Transfer-Encoding": "chunked"})
            digest = digest_of(b"".join(pieces))
            place, _ = ask("PUT", f"{location}?digest={digest}")
            for _ in range(3):
                assert digest_of(ask("GET", place)[1]) == digest

    return step


Ask = Callable[..., HTTPResponse]


def blob_goes(ask: Ask) -> None:
    """A small blob there and back, by requests of which each has to be answered the first time."""
    data = os.urandom(10_000)
    for method, target, body, status in (
        ("POST", f"/v2/rolling/raw/blobs/uploads/?digest={digest_of(data)}", data, 201),
        ("GET", f"/v2/rolling/raw/blobs/{digest_of(data)}", None, 200),
        ("GET", "/v2/", None, 200),
    ):
        answer = ask(method, target, body)
        read = answer.read()
        assert answer.status == status, (method, target, answer.status, read)
        assert read == data or "/blobs/sha256:" not in target


def raw_goes_anew(place: str) -> Callable[[int], None]:
    """Each request on a connection of its own, and nothing is tried again."""

    def step(_: int) -> None:
        for _ in range(5):
            with contextlib.ExitStack() as stack:

                def ask(*request: object) -> HTTPResponse:
                    connection = stack.enter_context(contextlib.closing(HTTPConnection(place, timeout=60)))
                    connection.request(*request)  # type: ignore[arg-type]
                    return connection.getresponse()

                blob_goes(ask)

    return step


def raw_goes_on(connection: HTTPConnection) -> Callable[[int], None]:
    """All requests on one connection, which is made anew where the server has said or shown that it ends."""

    def ask(*request: object) -> HTTPResponse:
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:
            # Closed while nothing was asked; what has been sent is never sent again.
            connection.close()
        connection.request(*request)  # type: ignore[arg-type]
        return connection.getresponse()

    def step(_: int) -> None:
        for _ in range(5):
            blob_goes(ask)

    return step


@pytest.fixture
def rules(scratch: Path) -> Path:
    """Rules for whoever comes through a proxy."""
    file = scratch / "access.yaml"
    file.write_text(RULES)
    return file


@pytest.mark.parametrize("kind", PROXIES)
def test_two_servers_behind_a_proxy(
    kind: str, rules: Path, docker: Docker, containers: Clients, new_image: NewImage, scratch: Path
) -> None:
    settings = {**SETTINGS, "access": {"rules_file": str(rules)}, "trusted_proxies": ["127.0.0.1"]}
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]

    def start(place: str) -> Server:
        server = Server(scratch / "root", scratch, {**settings, "registry": {"listen": place}})
        assert Wire(place).status("/readyz") == 200
        return server

    servers = [start(place) for place in places]
    try:
        with running(kind, scratch / "proxy", places) as proxy:
            with looping(
                docker_goes(docker, proxy.host_port, new_image),
                skopeo_goes(containers("skopeo"), proxy.host_port, new_image),
                http_goes(proxy),
            ) as another:
                for number in [0, 1] * ROUNDS:
                    another()
                    assert servers[number].stop() == 0
                    servers[number] = start(places[number])
                another()
            failed = {status: count for status, count in proxy.statuses.items() if status >= 499}
            assert proxy.statuses[201] > 20
            assert failed == {}, "also what a client has tried again"
    finally:
        for server in servers:
            server.stop()


def test_two_workers_of_one_server(
    docker: Docker, containers: Clients, new_image: NewImage, scratch: Path
) -> None:
    server = Server(scratch / "root", scratch, {**SETTINGS, "workers": 2})
    place = server.registry.host_port
    try:
        with (
            contextlib.closing(HTTPConnection(place, timeout=60)) as kept,
            looping(
                docker_goes(docker, place, new_image),
                skopeo_goes(containers("skopeo"), place, new_image),
                raw_goes_anew(place),
                raw_goes_on(kept),
            ) as another,
        ):
            for number in range(ROUNDS):
                another()
                before = set(workers(server))
                os.kill(server.pid, signal.SIGHUP)

                def renewed(times: int = number + 1, before: set[int] = before) -> bool:
                    return len(server.events("server.renewed")) == times and not before & set(workers(server))

                until(renewed, "the renewal, and the end of the workers before")
            another()
        answers = server.events("http.request")
        assert not [line for line in answers if not 200 <= line["status"] < 500]
    finally:
        server.stop()
