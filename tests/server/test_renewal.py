"""HUP: a parent of workers becomes the program anew, and nobody who uses it notices."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import Server, Start, ask, read, running, until

# Each starts real processes.
pytestmark = pytest.mark.e2e


def renew(server: Server) -> None:
    """Send HUP and wait until the workers of before have ended."""
    before = living(server)
    count = len(server.events("server.renewed"))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.events("server.renewed")) == count + 1, "the renewal")
    until(lambda: not any(running(pid) for pid in before), "the old workers to end")


def living(server: Server) -> list[int]:
    return [pid for pid in server.workers if running(pid)]


def told(server: Server) -> dict[str, Any]:
    """What the program said when it was ready."""
    said: dict[str, Any] = json.loads((server.directory / "ready").read_text())
    return said


def test_new_workers_of_a_new_program_take_the_place_of_the_old(start: Start) -> None:
    server = start(workers=2)
    old = server.workers
    (server.directory / "ready").unlink()
    renew(server)
    new = living(server)
    assert len(new) == 2 and not set(old) & set(new)
    assert told(server)["pid"] == server.process.pid, "a service manager sees one and the same process"
    assert told(server)["urls"] == server.urls
    assert server.get("/").pid in new
    renew(server)
    assert not set(living(server)) & {*old, *new}
    assert not server.events("worker.died")
    assert server.end() == 0
    assert not list((server.directory / "tmp").iterdir()), "the directory for metrics was inherited"


def test_no_connection_is_refused_or_broken_meanwhile(start: Start) -> None:
    server = start(workers=2, drain_seconds=1)
    over = threading.Event()
    problems: list[str] = []
    counts = [0, 0]

    def one_after_another(number: int) -> None:
        while not over.is_set():
            try:
                with contextlib.closing(server.connect()) as connection:
                    # On one connection for as long as the server leaves it open.
                    while not over.is_set():
                        answer = ask(connection, "/ready")
                        counts[number] += 1
                        if answer.status != 200:
                            problems.append(f"answered {answer.status}")
                        if answer.headers.get("connection") == "close":
                            break
            except OSError as error:
                problems.append(repr(error))

    clients = [threading.Thread(target=one_after_another, args=(number,)) for number in range(2)]
    for client in clients:
        client.start()
    for _ in range(3):
        renew(server)
    over.set()
    for client in clients:
        client.join()
    assert problems == []
    assert min(counts) > 10


def test_a_request_in_flight_is_finished_by_the_worker_that_began_it(start: Start) -> None:
    """However long that takes: nobody waits for a worker that was relieved."""
    server = start(workers=2, grace_seconds=0.01)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        old = server.workers
        for count in (1, 2):
            # The second time there are workers of two programs before.
            server.process.send_signal(signal.SIGHUP)
            until(lambda count=count: len(server.events("server.renewed")) == count, "the renewal")  # type: ignore[misc]
        until(lambda: len(living(server)) == 3, "all but the busy one to end")
        (server.directory / "go").touch()
        answer = read(connection)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert answer.pid in old
    until(lambda: len(living(server)) == 2, "the old one to end")


def test_who_was_relieved_may_not_take_for_ever(start: Start) -> None:
    server = start(workers=2, retire_seconds=0.01, grace_seconds=0.01)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        renew(server)
        assert read(connection).status == 503
    assert len(living(server)) == 2


@pytest.mark.parametrize("grace_seconds", [0.01, 3600])
def test_no_more_than_two_programs_of_before_have_workers_left(start: Start, grace_seconds: float) -> None:
    """Whoever renews it again and again, while clients read slowly, does not fill the machine."""
    server = start(workers=2, grace_seconds=grace_seconds)
    with contextlib.ExitStack() as stack:
        connections = []
        for count in range(1, 5):
            connection = stack.enter_context(contextlib.closing(server.connect()))
            connection.request("GET", "/slow")
            connections.append(connection)
            until(lambda count=count: server.journal.count("slow began") == count, "the request")  # type: ignore[misc]
            server.process.send_signal(signal.SIGHUP)
            until(lambda count=count: len(server.events("server.renewed")) == count, "the renewal")  # type: ignore[misc]
            if count == 3:
                # This one gives the oldest its grace; the next one ends it at once, if it is still there.
                left = 4 if grace_seconds < 1 else 5
                until(lambda left=left: len(living(server)) == left, "the idle ones to end")  # type: ignore[misc]
        until(lambda: len(living(server)) == (4 if grace_seconds < 1 else 5), "the oldest to end")
        assert read(connections[0]).status == 503
        (server.directory / "go").touch()
        assert read(connections[-1]).status == 200
        assert read(connections[-2]).status == 200
    until(lambda: len(living(server)) == 2, "the old ones to end")
    assert not server.events("worker.died")


def test_the_end_of_all_does_not_wait_for_who_was_relieved(start: Start) -> None:
    server = start(workers=2, grace_seconds=0.01)
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow")
        server.wait_for("slow began")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.events("server.renewed"), "the renewal")
        until(lambda: len(living(server)) == 3, "the idle one to end")
        assert server.end() == 0
        assert read(connection).status == 503
    assert not living(server)


def test_a_connection_that_is_taken_at_the_very_end_is_answered(start: Start) -> None:
    """It and the word to retire reach the old worker in one go, the word first."""
    server = start(workers=2)
    old = server.workers
    for pid in old:
        os.kill(pid, signal.SIGSTOP)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.events("server.renewed"), "the new workers")
    new = [pid for pid in server.workers if pid not in old]
    for pid in new:
        os.kill(pid, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(10)]
        for connection in connections:
            connection.request("GET", "/")
        for pid in old:
            os.kill(pid, signal.SIGCONT)
        until(lambda: not any(running(pid) for pid in old), "the old workers to end")
        for pid in new:
            os.kill(pid, signal.SIGCONT)
        answers = [read(connection) for connection in connections]
    assert [answer.status for answer in answers] == [200] * 10
    assert {answer.pid for answer in answers} & set(old), "or the test shows nothing"


def test_what_would_not_start_is_refused_and_all_goes_on(start: Start) -> None:
    server = start(workers=2)
    old = living(server)
    (server.directory / "unsound").write_text("the port is no number")
    server.process.send_signal(signal.SIGHUP)
    (refusal,) = until(lambda: server.events("renewal.refused"), "the refusal")
    assert refusal["reason"] == "the port is no number"
    assert living(server) == old
    assert server.get("/").pid in old
    (server.directory / "unsound").unlink()
    renew(server)
    assert server.end() == 0


def test_a_check_that_hangs_is_ended_and_the_next_one_counts(start: Start) -> None:
    server = start(prepare="impatient", workers=2)
    os.mkfifo(server.directory / "unsound")
    server.process.send_signal(signal.SIGHUP)
    (refusal,) = until(lambda: server.events("renewal.refused"), "the refusal")
    assert refusal["reason"].endswith("had not ended after 2 s")
    (server.directory / "unsound").unlink()
    renew(server)
    assert server.end() == 0


def test_what_is_asked_while_it_checks_is_not_forgotten(start: Start) -> None:
    server = start(workers=2)
    pipe = server.directory / "unsound"
    os.mkfifo(pipe)
    server.process.send_signal(signal.SIGHUP)
    with open(pipe, "w") as check:
        pipe.unlink()
        server.process.send_signal(signal.SIGHUP)
        check.write("the port is no number")
    until(lambda: server.events("server.renewed"), "the renewal that was asked for meanwhile")
    (refusal,) = server.events("renewal.refused")
    assert refusal["reason"] == "the port is no number"


def test_a_program_that_is_away_while_it_is_replaced_is_refused_too(start: Start) -> None:
    server = start(workers=2)
    program = server.directory / "trial"
    program.rename(server.directory / "away")
    server.process.send_signal(signal.SIGHUP)
    (refusal,) = until(lambda: server.events("renewal.refused"), "the refusal")
    assert str(program) in refusal["reason"]
    (server.directory / "away").rename(program)
    renew(server)


def test_workers_that_cannot_start_relieve_nobody_until_they_can(start: Start) -> None:
    server = start(workers=2)
    old = living(server)
    (server.directory / "refuse").touch()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.events("worker.died")) >= 3, "the new ones to fail and to be tried again")
    assert server.events("worker.died")[0]["reason"] == "the store is not there; make it"
    assert server.get("/").pid in old
    (server.directory / "refuse").unlink()
    until(lambda: server.events("server.renewed"), "the renewal")
    until(lambda: not any(running(pid) for pid in old), "the old workers to end")
    assert server.end() == 0


def test_told_to_end_while_it_renews_itself_it_ends(start: Start) -> None:
    server = start(workers=2)
    (server.directory / "refuse").touch()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.events("worker.died"), "the new program")
    assert server.end() == 0
    assert not living(server)
    # Both come before anything of the first can have happened.
    server = start(workers=2)
    server.process.send_signal(signal.SIGHUP)
    assert server.end() == 0
    assert not living(server)


def test_an_address_that_changes_takes_a_restart(start: Start, tmp_path: Path) -> None:
    server = start(workers=2)
    settings = server.directory / "settings"
    settings.write_text(json.dumps({"registry": {"listen": "localhost:0"}}))
    renew(server)
    (kept,) = server.events("address.kept")
    assert (kept["listener"], kept["address"]) == ("registry", "127.0.0.1:0")
    assert server.get("/").status == 200


def test_a_listener_that_is_new_is_there_and_one_that_is_gone_is_not(start: Start) -> None:
    server = start(workers=2, further={"old": "127.0.0.1:0", "kept": "127.0.0.1:0"})
    place = urlsplit(server.urls["old"])
    settings = server.directory / "settings"
    settings.write_text(json.dumps({"further": {"kept": "127.0.0.1:0", "new": "localhost:0"}}))
    (server.directory / "ready").unlink()
    renew(server)
    urls = told(server)["urls"]
    assert urls["kept"] == server.urls["kept"]
    server.urls = urls
    for listener in ("kept", "new"):
        assert server.get("/", listener).body.split()[0].decode() == listener
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.hostname, place.port))
    assert not server.events("address.kept")
    assert server.end() == 0


def test_a_new_listener_that_cannot_be_had_is_told_of_and_tried_again(start: Start) -> None:
    server = start(workers=2)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        (server.directory / "settings").write_text(json.dumps({"further": {"new": taken}}))
        renew(server)
        (missing,) = server.events("listener.missing")
        assert (missing["listener"], taken in missing["reason"]) == ("new", True)
        assert server.get("/").status == 200
    (server.directory / "ready").unlink()
    renew(server)
    server.urls = told(server)["urls"]
    assert server.get("/", "new").body.split()[0] == b"new"
    assert server.end() == 0


def test_with_one_process_it_is_refused_and_the_process_serves_on(start: Start) -> None:
    server = start(workers=1)
    server.process.send_signal(signal.SIGHUP)
    (refusal,) = until(lambda: server.events("renewal.refused"), "the refusal")
    assert "workers" in refusal["reason"]
    assert server.get("/").pid == server.process.pid


@pytest.mark.parametrize("workers", [1, 2])
def test_at_a_terminal_it_means_that_the_person_has_gone(start: Start, workers: int) -> None:
    controller, terminal = os.openpty()
    with open(controller, "rb"), open(terminal, "rb") as stdin:
        server = start(stdin=stdin, workers=workers)
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(60) == 0
