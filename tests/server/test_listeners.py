"""Binding early, and errors that name who is in the way and what to change."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from registry.server import ListenFailed, ServerSettings, listeners
from registry.server.listeners import Listener, inherit, listen
from registry.server.renewal import Sockets
from tests.server.further import FurtherSettings


def settings(registry: str = "127.0.0.1:0", ops: str = "127.0.0.1:0", **further: str) -> ServerSettings:
    return FurtherSettings.model_validate(
        {"registry": {"listen": registry}, "ops": {"listen": ops}, "further": further}
    )


def left(made: tuple[Listener, ...]) -> dict[str, Sockets]:
    """What the next program gets of listeners: descriptors of its own."""
    return {
        one.name: Sockets(one.address, tuple(os.dup(sock.fileno()) for sock in one.sockets)) for one in made
    }


def port(listener: Listener) -> int:
    found: int = listener.sockets[0].getsockname()[1]
    return found


@contextlib.contextmanager
def closing(*made: Listener) -> Iterator[None]:
    try:
        yield
    finally:
        for listener in made:
            listener.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which this process already listens."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def test_ports_of_the_kernels_choice_are_reported() -> None:
    made = listen(settings())
    try:
        assert [listener.name for listener in made] == ["registry", "ops"]
        ports = [listener.sockets[0].getsockname()[1] for listener in made]
        assert [listener.url for listener in made] == [f"http://127.0.0.1:{port}" for port in ports]
        assert len(set(ports)) == 2
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
    finally:
        for listener in made:
            listener.close()


def test_every_address_means_both_families_on_one_port() -> None:
    made = listen(settings(registry=":0"))
    try:
        port = made[0].sockets[0].getsockname()[1]
        assert made[0].url == f"http://localhost:{port}"
        families = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
        for host in families:
            with contextlib.suppress(OSError) if host == "::1" else contextlib.nullcontext():
                socket.create_connection((host, port)).close()
    finally:
        for listener in made:
            listener.close()


def test_a_name_is_listened_at_under_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(*_: object, **__: object) -> list[object]:
        places = ["127.0.0.1", "127.0.0.2", "192.0.2.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, 0)) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    made = listen(settings(registry="registry.example:0"))
    try:
        # The third is not an address of this machine, which does not keep it from serving the others.
        places = [one.getsockname() for one in made[0].sockets]
        assert [host for host, _ in places] == ["127.0.0.1", "127.0.0.2"]
        assert len({port for _, port in places}) == 1
    finally:
        for listener in made:
            listener.close()


def test_a_busy_port_is_named_with_its_holder_and_the_way_out(taken: int) -> None:
    with pytest.raises(ListenFailed) as refused:
        listen(settings(registry=f"127.0.0.1:{taken}"))
    told = str(refused.value)
    assert f"127.0.0.1:{taken} (registry)" in told
    assert f"process {os.getpid()} (" in told
    assert "--listen" in told


def test_further_listeners_are_beside_the_others() -> None:
    made = listen(settings(one="127.0.0.1:0", two="127.0.0.1:0"))
    with closing(*made):
        assert [listener.name for listener in made] == ["registry", "one", "two", "ops"]
        assert len({port(listener) for listener in made}) == 4


def test_of_a_further_one_the_setting_is_named_that_is_in_the_way(taken: int) -> None:
    with pytest.raises(ListenFailed, match=r"\(one\): .*choose another port: further\.one in the conf"):
        listen(settings(one=f"127.0.0.1:{taken}"))


def test_what_is_inherited_is_taken_and_what_is_new_is_bound() -> None:
    before = listen(settings(one="127.0.0.1:0"))
    with closing(*before):
        after, missing = inherit(settings(one="127.0.0.1:0", two="127.0.0.1:0"), left(before))
        with closing(*after):
            ports = {listener.name: port(listener) for listener in after}
            assert {**ports, **{one.name: port(one) for one in before}} == ports
            assert list(ports) == ["registry", "one", "two", "ops"]
            assert missing == ()


def test_what_has_another_name_at_the_same_address_is_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    before = listen(settings(one=address))
    with closing(*before):
        after, missing = inherit(settings(two=address), left(before))
        with closing(*after):
            (two,) = (listener for listener in after if listener.name == "two")
            assert f"127.0.0.1:{port(two)}" == address
            assert missing == ()


def test_what_nobody_wants_any_more_is_let_go_of() -> None:
    before = listen(settings(one="127.0.0.1:0"))
    (gone,) = (port(listener) for listener in before if listener.name == "one")
    inherited = left(before)
    for listener in before:
        listener.close()
    after, _ = inherit(settings(), inherited)
    with closing(*after), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gone))


def test_what_cannot_be_bound_is_missing_and_the_others_are_there(taken: int) -> None:
    before = listen(settings())
    with closing(*before):
        after, missing = inherit(settings(one=f"127.0.0.1:{taken}"), left(before))
        with closing(*after):
            assert [listener.name for listener in after] == ["registry", "ops"]
            (told,) = missing
            assert told.name == "one"
            assert f"process {os.getpid()} (" in told.reason
            assert "further.one" in told.reason


def test_when_one_cannot_be_had_neither_is(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    close = listeners.Listener.close

    def note(self: listeners.Listener) -> None:
        closed.append(self.name)
        close(self)

    monkeypatch.setattr(listeners.Listener, "close", note)
    with pytest.raises(ListenFailed, match=r"\(ops\).*ops\.listen in the configuration"):
        listen(settings(ops=f"127.0.0.1:{taken}"))
    assert closed == ["registry"]


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such filter")
def test_who_is_held_off_is_refused_and_who_came_before_is_taken() -> None:
    """A closed socket resets what it has not handed out: nothing may come after the last look at it."""
    (listener, _) = made = listen(settings())
    place, loop = ("127.0.0.1", port(listener)), asyncio.new_event_loop()
    with contextlib.closing(loop), closing(*made), socket.create_connection(place) as before:
        listener.hold_off()
        with contextlib.closing(socket.socket()) as after:
            after.setblocking(False)
            asked = loop.create_task(loop.sock_connect(after, place))
            (sock,) = listener.sockets
            taken, name = sock.accept()
            with taken:
                assert name == before.getsockname()
                before.sendall(b"x")
                assert taken.recv(1) == b"x"
            loop.run_until_complete(asyncio.sleep(0))
            with pytest.raises(BlockingIOError):
                sock.accept()
            listener.close()
            with pytest.raises(ConnectionRefusedError):
                loop.run_until_complete(asyncio.wait_for(asked, 60))


def test_another_machines_address_is_told_apart() -> None:
    with pytest.raises(ListenFailed, match="this machine has no such address"):
        listen(settings(registry="192.0.2.1:0"))


def test_a_low_port_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listeners, "_bind", denied)
    with pytest.raises(ListenFailed, match=r"port that low.*above 1023.*CAP_NET_BIND_SERVICE"):
        listen(settings(registry=":80"))


def test_a_name_without_address_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ListenFailed, match=r"'registry\.invalid' has no address"):
        listen(settings(registry="registry.invalid:5000"))


async def test_answers_are_sent_at_once() -> None:
    """A head and its body in two writes would otherwise wait for the client's delayed acknowledgement."""
    made = listen(settings())
    without_delay: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            without_delay.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    try:
        listening = made[0].sockets[0]
        server = await asyncio.get_running_loop().create_server(Accepted, sock=listening)
        with socket.create_connection(listening.getsockname()):
            assert await without_delay
        server.close()
    finally:
        for listener in made:
            listener.close()
