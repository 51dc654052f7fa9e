"""Requests of which readers could disagree where they end; what might be taken for a second one is marked."""

from __future__ import annotations

import random

from tests.fuzz.exchange import Exchange

ENCODINGS = (
    *("Transfer-Encoding: chunked", "transfer-encoding:chunked", "Transfer-Encoding: Chunked"),
    *("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked"),
    *("Transfer-Encoding:\tchunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x00"),
    *("Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", 'Transfer-Encoding: "chunked"'),
    *(
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer_Encoding: chunked",
    ),
    *("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding:\r\n chunked"),
    *("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "X: y\r\n\tTransfer-Encoding: chunked"),
    *(
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked;q=1",
    ),
    *("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: ,chunked,"),
    *(
        "Transfer-Encoding: ",
        "Transfer-Encoding",
        "Transfer-Encoding: chun ked",
        "TRANSFER-ENCODING: CHUNKED",
    ),
)
# What says another length than five, or no length at all, to somebody.
LENGTHS = (
    *("Content-Length: 5\r\nContent-Length: {all}", "Content-Length: {all}\r\nContent-Length: 5"),
    *("Content-Length: 5, {all}", "Content-Length: {all}, 5", "Content-Length: +5", "Content-Length: -5"),
    *("Content-Length: 0x5", "Content-Length: 5 5", "Content-Length: 5;", "Content-Length: 5.0"),
    *("Content-Length: 18446744073709551621", "Content-Length: 4294967301", "Content-Length: 5\x00"),
    *("Content-Length : 5", " Content-Length: 5", "Content-Length\x00: 5", "Content-Length: \x0b5"),
    *("Content-Length: 5_0", "Content-Length: \u0665", "Content-Length: five", "Content-Length: 1e1"),
    *("X: y\r\n Content-Length: 5", "Content-Length: 5,5,6", "Content-Length: 5\r\ncontent-length:\t{all}"),
)
CHUNK_SIZES = (
    *(
        "10000000000000005",
        "100000005",
        "+5",
        "-5",
        "0x5",
        " 5",
        "5 ",
        "5\t",
        "5_",
        "5\x00",
        "5;\n",
        "5;a=\n",
    ),
    *("5\n", "5\r", "5;a\rb", "\n5", "\r\n5", "5,5", "5.", "g", "", "\u0665"),
)
CHUNK_ENDS = ("\n", "\r", "", "xx", "\r\r", "\n\n", "\r\nx", " \r\n", "\x00\r\n")
METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS")


def smuggling(chance: random.Random, paths: tuple[str, ...], number: str) -> Exchange:
    """One of them, and behind or in it a request that is none."""
    marker = f"smuggled-{number}"
    smuggled = f"GET /v2/{marker}/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"
    kinds = (_both, _lengths, _chunk_size, _chunk_end, _ignored_body, _old_version, _switching)
    make = chance.choice(kinds)
    head, body = make(chance, smuggled)
    method = chance.choice(METHODS)
    version, _, fields = head.partition("\r\n")
    text = f"{method} {chance.choice(paths)} {version}\r\nHost: x\r\n{fields}\r\n\r\n{body}"
    pieces = cut(chance, text.encode("utf-8"))
    return Exchange(make.__name__.strip("_"), pieces, (method,), forbidden=marker)


def cut(chance: random.Random, data: bytes) -> tuple[bytes, ...]:
    """The data as one piece, or as several that are sent one after another."""
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3, 12))))
    return tuple(data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True))


def _both(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """A length and an encoding: RFC 9112, 6.1 wants the connection closed behind it."""
    body = chance.choice((f"0\r\n\r\n{smuggled}", f"{len(smuggled):x}\r\n{smuggled}\r\n0\r\n\r\n"))
    encoding = chance.choice(ENCODINGS)
    # To a reader who rightly ignores a misspelt encoding the length is true.
    length = chance.choice((len(body), len(body) + 5, *([4] if encoding == ENCODINGS[0] else [])))
    fields = [encoding, f"Content-Length: {length}"]
    chance.shuffle(fields)
    return "HTTP/1.1\r\n" + "\r\n".join(fields), body


def _lengths(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """Lengths that are none, or two."""
    field = chance.choice(LENGTHS).format(all=5 + len(smuggled))
    return "HTTP/1.1\r\n" + field, "aaaaa" + smuggled


def _chunk_size(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """A chunk of five bytes, to those who read its size leniently."""
    size = chance.choice(CHUNK_SIZES)
    return "HTTP/1.1\r\nTransfer-Encoding: chunked", f"{size}\r\naaaaa\r\n0\r\n\r\n{smuggled}"


def _chunk_end(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """A chunk that does not end as it should."""
    end = chance.choice(CHUNK_ENDS)
    return "HTTP/1.1\r\nTransfer-Encoding: chunked", f"5\r\naaaaa{end}0\r\n\r\n{smuggled}"


def _ignored_body(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """A body where none is wanted: whoever answers without reading it reads it as the next request."""
    more = chance.choice(("", "Expect: 100-continue\r\n", "Expect: x\r\n", "Connection: keep-alive\r\n"))
    if chance.random() < 0.5:
        return f"HTTP/1.1\r\n{more}Content-Length: {len(smuggled)}", smuggled
    return f"HTTP/1.1\r\n{more}Transfer-Encoding: chunked", f"{len(smuggled):x}\r\n{smuggled}\r\n0\r\n\r\n"


def _old_version(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """An encoding in a version that has none."""
    version = chance.choice(
        ("HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/11", "http/1.1", "HTTP/1.1 ")
    )
    return f"{version}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", f"0\r\n\r\n{smuggled}"


def _switching(chance: random.Random, smuggled: str) -> tuple[str, str]:
    """Another protocol is asked for, and the body looks like a request."""
    name = chance.choice(("h2c", "websocket", "TLS/1.0", "HTTP/1.1", ""))
    fields = [f"Upgrade: {name}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    length = f"Content-Length: {len(smuggled)}"
    return "HTTP/1.1\r\n" + "\r\n".join([*fields, length]), smuggled
