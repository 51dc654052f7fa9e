"""One process or several: who answers, and what happens when one dies."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
from collections import Counter
from urllib.parse import urlsplit

import pytest

from registry.server.place import delay_after
from tests.server.conftest import Server, Start, ask, read, running, until

# Each starts real processes.
pytestmark = pytest.mark.e2e


def reach(server: Server, connection: http.client.HTTPConnection, pid: int) -> None:
    """Connect until it is that worker that answers."""

    def reached() -> bool:
        connection.close()
        return ask(connection, "/").pid == pid

    until(reached, f"a connection to worker {pid}")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_listener_answers(start: Start, workers: int) -> None:
    server = start(workers=workers, further={"mirror:hub": "127.0.0.1:0"})
    for listener in ("registry", "ops", "mirror:hub"):
        answer = server.get("/", listener)
        assert (answer.status, answer.body.split()[0].decode()) == (200, listener)
        assert "date" in answer.headers
        assert "server" not in answer.headers
    assert len(set(server.urls.values())) == 3
    assert server.end() == 0
    assert server.journal.count("stopped") == workers


def test_one_process_serves_in_the_process_that_was_started(start: Start) -> None:
    server = start(workers=1)
    assert server.get("/").pid == server.process.pid


def test_connections_spread_over_the_workers(start: Start) -> None:
    server = start(workers=2)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(400)]
        # All are in the kernel's queue before a worker looks, as when many clients come at once. The first to
        # look has answered one when the second begins to look; by then it must not have taken them all.
        for pid in server.workers:
            os.kill(pid, signal.SIGSTOP)
        for connection in connections:
            connection.request("GET", "/")
        os.kill(server.workers[0], signal.SIGCONT)
        share = Counter([read(connections[0]).pid])
        os.kill(server.workers[1], signal.SIGCONT)
        share.update(read(connection).pid for connection in connections[1:])
    assert set(share) == set(server.workers)


def test_the_parent_imports_nothing_that_serves(start: Start) -> None:
    server = start(workers=2)
    assert not {"uvicorn", "starlette", "httptools", "asyncio", "prometheus_client"} & set(server.modules)
    # What was to be absent is indeed loaded where requests are served.
    assert "uvicorn" in start(workers=1).modules


def test_a_killed_worker_is_replaced_while_the_other_serves(start: Start) -> None:
    server = start(workers=2)
    first = server.workers
    os.kill(first[0], signal.SIGKILL)
    until(lambda: server.get("/").pid == first[1], "the other worker")
    until(lambda: len(server.workers) == 3, "a third worker")
    third = server.workers[2]
    until(lambda: server.get("/").pid == third, "an answer of the new worker")
    (death,) = server.events("worker.died")
    assert (death["pid"], death["code"]) == (first[0], -signal.SIGKILL)
    assert server.end() == 0


def test_a_worker_that_keeps_dying_is_restarted_ever_later(start: Start) -> None:
    server = start(workers=2)

    def kill_the_first(deaths: int) -> None:
        until(lambda: len(server.workers) == 2 + deaths, "the worker to be replaced")
        victim = [line["pid"] for line in server.events("worker.started") if line["worker"] == 0][-1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(server.events("worker.died")) == deaths + 1, "its death to be seen")

    for deaths in range(3):
        kill_the_first(deaths)
    assert [line["restart_seconds"] for line in server.events("worker.died")] == [0.1, 0.2, 0.4]


def test_a_worker_is_never_given_up() -> None:
    assert [delay_after(deaths) for deaths in (8, 9, 10, 100_000)] == [25.6, 30.0, 30.0, 30.0]


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    server = start(workers=2)
    pids = server.workers
    assert list((server.directory / "tmp").iterdir())
    with contextlib.closing(server.connect()) as connection:
        reach(server, connection, pids[1])
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        server.process.kill()
        server.process.wait()
        # Each sees it by itself: the busy one does not keep the other from ending.
        until(lambda: not running(pids[0]), "the idle worker to end")
        (server.directory / "go").touch()
        assert read(connection).pid == pids[1]
    until(lambda: not any(running(pid) for pid in pids), "the workers to end")
    assert server.journal.count("stopped") == 2
    assert not list((server.directory / "tmp").iterdir())
    place = urlsplit(server.urls["registry"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.hostname, place.port))


def test_a_worker_told_to_end_by_itself_ends_in_order_and_is_replaced(start: Start) -> None:
    server = start(workers=2)
    first = server.workers[0]
    with contextlib.closing(server.connect()) as connection:
        reach(server, connection, first)
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        os.kill(first, signal.SIGTERM)
        server.wait_for("draining")
        (server.directory / "go").touch()
        assert read(connection).pid == first
    until(lambda: len(server.workers) == 3, "a new worker")
    assert server.events("worker.died")[0]["code"] == 0


def test_the_directory_for_metrics_is_fresh_and_removed(start: Start) -> None:
    server = start(workers=2)
    (directory,) = (server.directory / "tmp").iterdir()
    assert directory.name.startswith("moorage-metrics-")
    assert server.end() == 0
    assert not directory.exists()


def test_metrics_are_those_of_all_living_workers(start: Start) -> None:
    server = start(workers=2)

    def in_flight() -> float:
        document = server.get("/metrics", "ops").body.decode()
        found = re.search(r'^moorage_http_in_flight\{listener="registry"\} (.*)$', document, re.MULTILINE)
        return float(found[1]) if found else 0.0

    # The toy counts each request as begun and none as ended, so the gauge is the number that came.
    share: Counter[int] = Counter()

    def both_answered() -> bool:
        share[server.get("/").pid] += 1
        return len(share) == 2

    until(both_answered, "an answer of each worker")
    assert in_flight() == share.total()
    os.kill(server.workers[0], signal.SIGKILL)
    until(lambda: server.events("worker.died"), "its death to be seen")
    until(lambda: in_flight() == share[server.workers[1]], "the dead one's requests to be forgotten")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_that_cannot_start_says_why(start: Start, workers: int) -> None:
    server = start(prepare="refuse", wait=False, workers=workers)
    assert server.process.wait(60) == 1
    assert (server.directory / "errors").read_text() == "the store is not there; make it\n"
    assert not server.events("server.failed")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_at_the_start_is_told_and_its_traceback_logged(start: Start, workers: int) -> None:
    server = start(prepare="break", wait=False, workers=workers)
    assert server.process.wait(60) == 1
    assert "a mistake in the program" in (server.directory / "errors").read_text()
    assert "ZeroDivisionError" in server.events("server.failed")[0]["exception"]


def test_a_busy_port_is_named_with_its_holder(start: Start) -> None:
    first = start()
    taken = urlsplit(first.urls["registry"]).netloc
    second = start(wait=False, registry={"listen": taken})
    assert second.process.wait(60) == 1
    told = (second.directory / "errors").read_text()
    assert f"cannot listen on {taken} (registry)" in told
    assert f"process {first.process.pid} (" in told
    assert "--listen" in told
