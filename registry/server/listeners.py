"""Listening sockets, bound early, with errors that name who is in the way and what to change."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.server.holder import holder_of
from registry.server.renewal import Sockets
from registry.server.settings import ListenerSettings, ServerSettings
from registry.settings import Address

# How many connections the kernel may keep for us before we take them.
BACKLOG = 2048
# Linux: what a socket's filter lets through. This one drops each segment that begins a connection, by the
# flags in byte 13 of its TCP header: load them; with SYN go on, else skip one; drop; pass whole.
_ATTACH_FILTER = 26
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_ALL_FOUR, _ALL_SIX = "0.0.0.0", "::"  # noqa: S104 (only where the operator wrote so)


class ListenFailed(Exception):
    """An address cannot be listened at; the text says why, and what to change."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Bound and listening sockets under one name: several when a host name has several addresses."""

    name: str
    address: str
    sockets: tuple[socket.socket, ...]
    url: str

    def hold_off(self) -> None:
        """Let no connection begin any more, while those that have begun still come to be taken (Linux).

        A socket that is closed resets what it has not handed out, and between the last look into its queue
        and the close there is always a moment. A client that is held off tries again within a second or so,
        and is refused. That would go for all processes that have the sockets, whoever inherits them.
        """
        if sys.platform != "linux":
            return
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
        packed = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        for one in self.sockets:
            # Where a sandbox forbids it there is that moment.
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, packed)

    def close(self) -> None:
        """Stop listening in this process; others that inherited the sockets go on."""
        for one in self.sockets:
            one.close()


@dataclass(frozen=True, slots=True)
class Missing:
    """A listener that there should be, and why there is not."""

    name: str
    reason: str


def listen(settings: ServerSettings) -> tuple[Listener, ...]:
    """Bind every listener, or none: `ListenFailed`."""
    made: list[Listener] = []
    with contextlib.ExitStack() as undo:
        for one in settings.listeners:
            listener = _bound(one, settings)
            undo.callback(listener.close)
            made.append(listener)
        undo.pop_all()
    return tuple(made)


def inherit(
    settings: ServerSettings, inherited: Mapping[str, Sockets]
) -> tuple[tuple[Listener, ...], tuple[Missing, ...]]:
    """Take the sockets that were inherited, bind what is new, and let go of what is not wanted any more.

    What cannot be bound is missing, and no reason to end: others are served meanwhile.
    """
    left = dict(inherited)
    taken = {one.name: left.pop(one.name) for one in settings.listeners if one.name in left}
    made, missing = [], []
    for one in settings.listeners:
        # A listener that was only given another name is still where it was.
        renamed = next((name for name, sockets in left.items() if sockets.address == one.listen), None)
        if one.name not in taken and renamed is not None:
            taken[one.name] = left.pop(renamed)
        try:
            made.append(_take(one, taken[one.name], settings) if one.name in taken else _bound(one, settings))
        except ListenFailed as error:
            missing.append(Missing(one.name, str(error)))
    for sockets in left.values():
        for number in sockets.descriptors:
            os.close(number)
    return tuple(made), tuple(missing)


def _take(wanted: ListenerSettings, left: Sockets, settings: ServerSettings) -> Listener:
    sockets = tuple(socket.socket(fileno=number) for number in left.descriptors)
    for one in sockets:
        one.setblocking(False)
    place = Address(_reachable(Address.parse(left.address).host), sockets[0].getsockname()[1])
    return Listener(wanted.name, left.address, sockets, f"{_scheme(wanted, settings)}://{place}")


def _bound(wanted: ListenerSettings, settings: ServerSettings) -> Listener:
    name, change = wanted.name, wanted.change or f"{wanted.setting} in the configuration"
    address = Address.parse(wanted.listen)
    sockets: list[socket.socket] = []
    port = address.port
    refused: OSError | None = None
    for family, host in _resolve(address, name, change):
        try:
            sockets.append(_bind(family, host, port))
            port = sockets[0].getsockname()[1]
        except OSError as error:
            refused = error
            # `localhost` has an IPv6 address in many a hosts file of machines that have IPv6 switched off.
            if error.errno not in _NOT_HERE:
                break
    if not sockets or (refused and refused.errno not in _NOT_HERE):
        for one in sockets:
            one.close()
        assert refused is not None
        raise ListenFailed(_explain(name, Address(address.host, port), refused, change)) from refused
    place = Address(_reachable(address.host), port)
    return Listener(name, wanted.listen, tuple(sockets), f"{_scheme(wanted, settings)}://{place}")


def _scheme(wanted: ListenerSettings, settings: ServerSettings) -> str:
    return "http" if wanted.is_ops or settings.registry.tls is None else "https"


def _resolve(address: Address, name: str, change: str) -> Sequence[tuple[int, str]]:
    if not address.host:
        # One socket for both families; where IPv6 is switched off, one for IPv4.
        both = socket.has_dualstack_ipv6()
        return [(socket.AF_INET6, _ALL_SIX) if both else (socket.AF_INET, _ALL_FOUR)]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ListenFailed(
            f"cannot listen on {address} ({name}): the name {address.host!r} has no address "
            f"({error.strerror}); write an IP address: {change}"
        ) from error
    return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))


def _bind(family: int, host: str, port: int) -> socket.socket:
    # With its protocol named: asyncio sends at once (TCP_NODELAY) only on sockets that say they are TCP.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart must not wait for connections of the process before to be forgotten.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != _ALL_SIX))
        made.bind((host, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _reachable(host: str) -> str:
    return "localhost" if host in ("", _ALL_FOUR, _ALL_SIX) else host


def _explain(name: str, address: Address, error: OSError, change: str) -> str:
    begin = f"cannot listen on {address} ({name}): "
    if error.errno == errno.EADDRINUSE:
        end = f"the port is in use by {holder_of(address.port)}; stop that, or choose another port: {change}"
        if sys.platform == "darwin" and address.port in (5000, 7000):
            end += " (on macOS that is often the AirPlay receiver, which System Settings can switch off)"
        return begin + end
    if error.errno == errno.EACCES:
        return begin + (
            f"this user (uid {os.getuid()}) may not take a port that low; choose one above 1023: {change}; "
            "or give the service CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return begin + f"this machine has no such address; choose one that it has: {change}"
    return begin + f"{os.strerror(error.errno or 0)}; choose another address: {change}"
