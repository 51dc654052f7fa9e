"""The end of a server: nobody's request is lost that could be answered, and clean-up is waited for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import Server, Start, ask, read, running, until

# Each starts real processes.
pytestmark = pytest.mark.e2e

both = pytest.mark.parametrize("workers", [1, 2])


def refuses(server: Server) -> bool:
    place = urlsplit(server.urls["registry"])
    try:
        socket.create_connection((place.hostname, place.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@both
def test_a_request_in_flight_is_finished(start: Start, workers: int) -> None:
    server = start(workers=workers)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        until(lambda: refuses(server), "new connections to be refused")
        (server.directory / "go").touch()
        answer = read(connection)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(60) == 0
    assert server.journal[-1] == "stopped"


@both
def test_past_the_grace_time_it_is_cancelled_once_cleans_up_and_answers_503(
    start: Start, workers: int
) -> None:
    server = start(workers=workers, grace_seconds=0.1)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/stuck")
        server.wait_for("stuck began")
        server.process.send_signal(signal.SIGTERM)
        answer = read(connection)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/json"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"
    assert server.process.wait(60) == 0
    ended = server.journal[server.journal.index("stuck began") :]
    assert [line for line in ended if "clean" in line or "again" in line] == ["cleaning up", "cleaned up"]
    assert ended[-1] == "stopped"


def test_the_application_stops_only_after_all_clean_up(start: Start) -> None:
    server = start(grace_seconds=0)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(8)]
        for connection in connections:
            connection.request("GET", "/stuck")
        until(lambda: server.journal.count("stuck began") == 8, "all requests")
        assert server.end() == 0
        assert [read(connection).status for connection in connections] == [503] * 8
    assert server.journal.count("cleaned up") == 8
    assert server.journal[-1] == "stopped"


def test_an_upload_that_is_cancelled_can_read_its_answer(start: Start) -> None:
    server = start(grace_seconds=0)
    place = urlsplit(server.urls["registry"])
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(b"PUT /stuck HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 300_000)
        server.wait_for("stuck began")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("cleaned up")
        # Bytes that arrive after the answer must not make the kernel throw it away.
        client.sendall(b"a" * 700_000)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"UNAVAILABLE" in heard


def test_an_answer_that_has_begun_is_cut_off_and_not_passed_off_as_whole(start: Start) -> None:
    server = start(grace_seconds=0)
    place = urlsplit(server.urls["registry"])
    with socket.create_connection((place.hostname, place.port), timeout=60) as client:
        client.sendall(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for("stuck began")
        server.process.send_signal(signal.SIGTERM)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
    assert heard.endswith(b"\r\n\r\nbeg")
    assert server.process.wait(60) == 0
    assert "cleaned up" in server.journal
    assert server.events("request.cancelled")[0]["answered"] is True


@both
def test_while_draining_connections_are_taken_and_every_answer_says_close(start: Start, workers: int) -> None:
    server = start(workers=workers, drain_seconds=3600)
    with contextlib.closing(server.connect()) as idle, contextlib.closing(server.connect()) as other:
        assert "connection" not in ask(idle, "/").headers
        assert ask(other, "/").status == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.journal.count("draining") == workers, "draining")
        fresh = server.get("/ready")
        assert (fresh.status, fresh.headers["connection"]) == (503, "close")
        # A connection that was idle is still answered, once.
        answer = ask(idle, "/")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert idle.sock is None
        # A second signal ends the drain; what is still idle is closed then, and not before.
        assert other.sock is not None
        server.process.send_signal(signal.SIGTERM)
        assert other.sock.recv(1) == b""
    assert server.process.wait(60) == 0


@both
def test_who_was_connected_before_the_end_is_answered(start: Start, workers: int) -> None:
    """Neither who waits in the kernel, nor whose request has not been read yet, is idle."""
    server = start(workers=workers)
    answering = server.workers or [server.process.pid]
    with contextlib.ExitStack() as stack:
        for pid in answering:
            os.kill(pid, signal.SIGSTOP)
        connections = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(20)]
        for connection in connections:
            connection.request("GET", "/")
        server.process.send_signal(signal.SIGTERM)
        if workers > 1:
            until(lambda: not signals_pending(server.process.pid), "the signal to be taken")
        for pid in answering:
            os.kill(pid, signal.SIGCONT)
        assert [read(connection).status for connection in connections] == [200] * 20
    assert server.process.wait(60) == 0


@both
def test_who_came_just_before_the_end_has_time_to_ask(start: Start, workers: int) -> None:
    """A proxy connects, and is held up before it sends; what it keeps it gives up within the drain."""
    drain_seconds = 3
    server = start(workers=workers, drain_seconds=drain_seconds)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.journal.count("draining") == workers, "draining")
    ended = time.monotonic() + drain_seconds
    answering = server.workers or [server.process.pid]
    with contextlib.closing(server.connect()) as connection:
        for pid in answering:
            os.kill(pid, signal.SIGSTOP)
        connection.connect()
        until(lambda: time.monotonic() > ended, "the drain to be over")
        for pid in answering:
            os.kill(pid, signal.SIGCONT)
        until(lambda: refuses(server), "new connections to be refused")
        refused = time.monotonic()
        until(lambda: time.monotonic() > refused + 0.5, "what is idle to be closed")
        assert ask(connection, "/").status == 200
    assert server.process.wait(60) == 0


@both
@pytest.mark.parametrize("path", ["/stuck", "/slow"])
def test_a_second_signal_does_not_wait(start: Start, workers: int, path: str) -> None:
    server = start(workers=workers, grace_seconds=3600)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", path)
        server.wait_for(f"{path[1:]} began")
        server.process.send_signal(signal.SIGINT)
        server.wait_for("draining")
        until(lambda: refuses(server), "new connections to be refused")
        server.process.send_signal(signal.SIGINT)
        assert read(connection).status == 503
    assert server.process.wait(60) == 0
    assert "cancelled again" not in server.journal


def test_a_third_signal_ends_at_once(start: Start) -> None:
    server = start(workers=2, drain_seconds=3600)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.journal.count("draining") == 2, "both workers to drain")
    # Stopped, a worker can obey nobody; that is what the third signal is for.
    for pid in server.workers:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(2):
        until(lambda: not signals_pending(server.process.pid), "the last signal to be taken")
        server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 1
    assert not any(running(pid) for pid in server.workers)


def signals_pending(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        lines = dict(line.split(":", 1) for line in status)
    return bool(int(lines["SigPnd"], 16) | int(lines["ShdPnd"], 16))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_counts_once(start: Start, number: int) -> None:
    # A service manager does that with TERM, a terminal with INT.
    server = start(workers=2)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        os.killpg(server.process.pid, number)
        until(lambda: server.journal.count("draining") == 2, "both workers to drain")
        for pid in server.workers:
            # The idle one may have ended already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        (server.directory / "go").touch()
        assert read(connection).status == 200
    assert server.process.wait(60) == 0


def test_a_mistake_in_the_application_is_answered_in_json_and_logged_once(start: Start) -> None:
    server = start()
    answer = server.get("/fail")
    assert answer.status == 500
    assert json.loads(answer.body)["errors"][0]["code"] == "UNKNOWN"
    assert server.get("/").status == 200
    server.end()
    (line,) = [line for line in server.log if "exception" in line]
    assert line["event"] == "request.failed"
    assert "ZeroDivisionError" in line["exception"]
