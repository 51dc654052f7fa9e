"""A directory server that says whatever a test wants it to: so much of LDAP, in BER, as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BIND, SEARCH, EXTENDED, UNBIND = 0x60, 0x63, 0x77, 0x42
BASE = "ou=people,dc=example"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has asked; of a bind with the DN and the password."""

    number: int
    kind: int
    dn: str = ""
    password: str = ""


Answers = Callable[[Request], bytes | None]


def element(kind: int, *content: bytes, long: bool = False) -> bytes:
    """An element; with `long` its length is written as Active Directory writes it, in four bytes."""
    body = b"".join(content)
    if long:
        return bytes((kind, 0x84)) + len(body).to_bytes(4, "big") + body
    if len(body) < 0x80:
        return bytes((kind, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((kind, 0x80 | len(size))) + size + body


def octets(value: str | bytes) -> bytes:
    """A text."""
    return element(0x04, value.encode() if isinstance(value, str) else value)


def message(number: int, kind: int, *content: bytes, long: bool = False) -> bytes:
    """A message of the server's."""
    whole = element(0x02, bytes((number,))) + element(kind, *content, long=long)
    return element(0x30, whole, long=long)


def result(request: Request, code: int, told: str = "", *, kind: int = 0, referral: str = "") -> bytes:
    """How something ended, in the form that belongs to the request unless told otherwise."""
    kind = kind or {BIND: 0x61, SEARCH: 0x65, EXTENDED: 0x78}[request.kind]
    elsewhere = [element(0xA3, octets(referral))] if referral else []
    return message(request.number, kind, element(0x0A, bytes((code,))), octets(""), octets(told), *elsewhere)


def entry(request: Request, dn: str | bytes, **attributes: str | bytes | Sequence[str]) -> bytes:
    """An entry that was found."""
    lists = []
    for name, value in attributes.items():
        values = [value] if isinstance(value, str | bytes) else value
        lists.append(element(0x30, octets(name), element(0x31, *map(octets, values))))
    return message(request.number, 0x64, octets(dn), element(0x30, *lists))


def reference(request: Request, url: str) -> bytes:
    """That more may be found elsewhere."""
    return message(request.number, 0x73, octets(url))


def split(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Kind, content and rest of the first element; None as long as it is not whole."""
    if len(data) < 2:
        return None
    size, begins = data[1], 2
    if size & 0x80:
        begins += size & 0x7F
        size = int.from_bytes(data[2:begins], "big")
    if len(data) < begins + size:
        return None
    return data[0], data[begins : begins + size], data[begins + size :]


def read(content: bytes) -> Request:
    """The request in a message."""
    parts = []
    while content:
        found = split(content)
        assert found is not None
        parts.append(found)
        content = found[2]
    number, (kind, body, _) = int.from_bytes(parts[0][1], "big"), parts[1]
    if kind != BIND:
        return Request(number, kind)
    version = split(body)
    dn = split(version[2]) if version else None
    password = split(dn[2]) if dn else None
    assert dn is not None and password is not None
    return Request(number, kind, dn[1].decode(), password[1].decode())


@dataclass
class Liar:
    """A server that listens; `requests` are those it got, `connections` how many clients came."""

    answers: Answers
    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    other_bytes: bytes = b""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client, until it goes or is hung up on."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        data = b""
        try:
            while piece := await reader.read(1 << 16):
                data += piece
                if data[:1] != b"\x30":
                    # No LDAP: TLS, which is never answered.
                    self.other_bytes += data
                    data = b""
                while (found := split(data)) is not None:
                    data = found[2]
                    request = read(found[1])
                    self.requests.append(request)
                    answer = self.answers(request) if request.kind != UNBIND else None
                    if answer == b"":
                        return
                    if answer is not None:
                        writer.write(answer)
                        await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)


@asynccontextmanager
async def lying(answers: Answers) -> AsyncIterator[Liar]:
    """A server that gives these answers: bytes, none at all (None), or that it hangs up (b"")."""
    liar = Liar(answers)
    server = await asyncio.start_server(liar.converse, "127.0.0.1", 0)
    liar.port = server.sockets[0].getsockname()[1]
    try:
        yield liar
    finally:
        server.close()
        for task in liar.tasks:
            task.cancel()
        await asyncio.gather(*liar.tasks)


def honest(passwords: Mapping[str, str], found: Callable[[Request], bytes]) -> Answers:
    """Binds those with the right password, by DN, and finds what it is told to."""

    def answers(request: Request) -> bytes | None:
        if request.kind == BIND:
            return result(request, 0 if passwords.get(request.dn) == request.password else 49)
        return found(request) if request.kind == SEARCH else result(request, 2)

    return answers
