"""Heads that are not as they should be, bodies that lie or break off, and what is no HTTP at all."""

from __future__ import annotations

import random

from tests.fuzz.exchange import Exchange
from tests.fuzz.smuggling import cut

METHODS = (
    *(
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "PRI",
        "QUERY",
    ),
    *(
        "SOURCE",
        "M-SEARCH",
        "get",
        "Get",
        "GETGET",
        "G E T",
        "",
        "\x00",
        "GET\t",
        " GET",
        "É",
        "A" * 5000,
        "PURGE",
    ),
)
TARGETS = (
    *(
        "*",
        "/",
        "//",
        "",
        "?",
        "#",
        "/v2",
        "v2/",
        "/v2/#x",
        "/v2/?",
        "http://x/v2/",
        "HTTP://x:1/v2/_catalog",
    ),
    *(
        "http://",
        "http:///v2/",
        "https://x@y/v2/",
        "x:80",
        "[::1]:80",
        "/v2/%",
        "/v2/%zz/",
        "/v2/%00/tags/list",
    ),
    *("/v2/%2e%2e/%2e%2e/etc/passwd", "/v2/../../etc/passwd", "/v2/a/../b/tags/list", "/v2/a\\b/tags/list"),
    *("/v2/é/tags/list", "/v2/\x00/tags/list", "/v2/\x7f", "/v2/a b/tags/list", "/v2/a/tags/list HTTP/1.1"),
    *("/v2/" + "a/" * 3000 + "tags/list", "/v2/_catalog?" + "n=1&" * 3000, "/v2/" + "x" * 100_000),
    *("/v2/_catalog?n=" + "9" * 5000, "/v2/_catalog?last=%ff%fe", "/v2/_catalog?n=-1", "/v2//tags/list"),
)
VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2",
    "HTTP/3.0",
    "HTTP/1",
    "HTTP/1.10",
    "HTTQ/1.1",
    "",
    "HTTP/1.1x",
)
FIELDS = (
    *(
        "X",
        ": x",
        "X:",
        "X:y",
        "X : y",
        "X y: z",
        " X: y",
        "\tX: y",
        "X: \x00",
        "X\x00: y",
        "X: \x01\x02",
        "É: x",
    ),
    *(
        "X: " + "é" * 20,
        "X: y\r\n z",
        "X: y\n z",
        "X: a\rb",
        "X: y\r",
        ":",
        "",
        "(x): y",
        "X: " + "y" * 70_000,
    ),
    *("Host: a\r\nHost: b", "Host: a b", "Host:", "Host: \x00", "Connection: \x00", "Connection: close, x"),
    *("Connection: keep-alive, close", "Connection: Content-Length", "Keep-Alive: timeout=0", "TE: trailers"),
    *(
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Range: bytes=0-" + ",0-" * 2000,
        "Range: bytes=-0",
        "Range: x",
    ),
    *("Accept: " + "*/*," * 3000, "Authorization: Basic " + "x" * 9000, "Authorization: \xff", "Cookie: a=b"),
    *(
        "If-None-Match: " + '"' * 3000,
        "Content-Range: 0-",
        "Content-Range: 5-1",
        "Content-Range: 0-" + "9" * 999,
    ),
    *(
        "Content-Type: \xff\xfe",
        "Content-Type: " + "a/" * 5000,
        "Content-Encoding: gzip",
        "X-Forwarded-For: \x01",
    ),
    *("X-HTTP-Method-Override: DELETE", "Trailer: Content-Length", "Sec-WebSocket-Key: x", "Upgrade: h2c"),
)
NEWLINES = ("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\n\r", "\r\n ", "\r\n\x00", "\x85")
NOT_HTTP = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    *(
        b"\r\n" * 5000,
        b"\x00" * 5000,
        b"EHLO x\r\n",
        b"SSH-2.0-x\r\n",
        b"GET /v2/\r\n",
        b"\xff" * 300_000,
        b"\n\n\n",
    ),
    *(
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" * 2000,
    ),
)


def malformed(chance: random.Random, paths: tuple[str, ...], _: str) -> Exchange:
    """One of them."""
    make = chance.choice((_head, _head, _head, _many_fields, _lying_length, _broken_chunks, _nothing, _cut))
    return make(chance, paths)


def mutated(chance: random.Random, paths: tuple[str, ...], _: str) -> Exchange:
    """A sound request or two, some bytes of which are not what they were."""
    data = bytearray(b"".join(_sound(chance, paths) for _one in range(chance.choice((1, 1, 2)))))
    for _change in range(chance.choice((1, 1, 2, 4, 8))):
        place = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.choice((1, 1, 2, 10))]
            case 2:
                data[place:place] = chance.choice((b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\xff", b"0"))
            case 3:
                data[place:place] = data[place : place + chance.randrange(60)]
            case _:
                other = chance.randrange(len(data))
                data[place], data[other] = data[other], data[place]
        data = data or bytearray(b"\n")
    return Exchange("mutated", cut(chance, bytes(data)), _methods(bytes(data)))


def _sound(chance: random.Random, paths: tuple[str, ...]) -> bytes:
    method, path = chance.choice(("GET", "POST", "PATCH", "PUT", "DELETE")), chance.choice(paths)
    body = b"0123456789" * chance.choice((0, 1, 30))
    if chance.random() < 0.4:
        framed = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + (
            framed + b"0\r\n\r\n"
        )
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _methods(data: bytes) -> tuple[str, ...]:
    return ("HEAD",) if data.lstrip(b"\r\n").startswith(b"HEAD ") else ("GET",)


def _head(chance: random.Random, paths: tuple[str, ...]) -> Exchange:
    """A request line or a field, or the ends of lines, that are not as they should be."""
    method = chance.choice(METHODS) if chance.random() < 0.5 else "GET"
    target = chance.choice(TARGETS) if chance.random() < 0.5 else chance.choice(paths)
    version = chance.choice(VERSIONS) if chance.random() < 0.3 else "HTTP/1.1"
    fields = ["Host: x"] if chance.random() < 0.8 else []
    fields += chance.sample(FIELDS, chance.choice((0, 1, 1, 2)))
    chance.shuffle(fields)
    lines = [chance.choice((" ", " ", " ", " ", "\t", "  ")).join((method, target, version)), *fields]
    newline = chance.choice(NEWLINES)
    data = ("".join(line + newline for line in lines) + newline).encode("latin-1", "replace")
    return Exchange("head", cut(chance, data), _methods(data))


def _many_fields(chance: random.Random, paths: tuple[str, ...]) -> Exchange:
    """Heads longer than any should be."""
    number, size = chance.choice(((20_000, 3), (300, 1000), (1, 300_000), (3000, 60)))
    fields = "".join(f"X{one}: {'y' * size}\r\n" for one in range(number))
    end = chance.choice(("\r\n", "\r\n", ""))
    data = f"GET {chance.choice(paths)} HTTP/1.1\r\nHost: x\r\n{fields}{end}".encode()
    return Exchange("many fields", cut(chance, data))


def _lying_length(chance: random.Random, paths: tuple[str, ...]) -> Exchange:
    """More bytes, or fewer, than the head says."""
    method = chance.choice(("POST", "PUT", "PATCH", "GET", "DELETE"))
    length, sent = chance.choice(
        ((10, 3), (10**12, 5), (0, 50), (3, 50), (10**18, 0), (2**63, 9), (9, 2**20))
    )
    head = f"{method} {chance.choice(paths)} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    return Exchange("lying length", cut(chance, head.encode() + b"a" * sent))


def _broken_chunks(chance: random.Random, paths: tuple[str, ...]) -> Exchange:
    """Chunks that end too early, never, or in trailers of all kinds."""
    method = chance.choice(("POST", "PUT", "PATCH", "GET"))
    body = chance.choice(
        (
            *(
                b"5\r\naaa",
                b"5\r\naaaaa\r\n",
                b"ffffffffffffffff\r\naaa",
                b"zz\r\n",
                b"0\r\n",
                b"0\r\nX: y\r\n\r\n",
            ),
            *(
                b"0\r\nContent-Length: 5\r\n\r\n",
                b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
                b"1;" + b"a" * 300_000,
            ),
            *(
                b"1\r\na\r\n" * 5000 + b"0\r\n\r\n",
                b"0\r\n\x00\r\n\r\n",
                b"0\r\n X: y\r\n\r\n",
                b"\r\n0\r\n\r\n",
            ),
        )
    )
    head = f"{method} {chance.choice(paths)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Exchange("broken chunks", cut(chance, head.encode() + body))


def _nothing(chance: random.Random, _: tuple[str, ...]) -> Exchange:
    """Other protocols, and noise."""
    data = chance.choice((*NOT_HTTP, chance.randbytes(chance.randrange(1, 3000))))
    return Exchange("no HTTP", cut(chance, data))


def _cut(chance: random.Random, paths: tuple[str, ...]) -> Exchange:
    """A connection that is reset somewhere."""
    data = _sound(chance, paths)
    return Exchange("cut", (data[: chance.randrange(1, len(data) + 1)],), cut=True)
