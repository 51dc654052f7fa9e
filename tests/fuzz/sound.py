"""Requests as they should be, of which every answer is known: none may get another's."""

from __future__ import annotations

import random

from tests.fuzz.exchange import Exchange
from tests.fuzz.smuggling import cut


def pipelined(chance: random.Random, _: tuple[str, ...], number: str) -> Exchange:
    """Several requests at once, with bodies that nobody wants; each answer names its own repository."""
    words: list[str] = []
    requests: list[bytes] = []
    count = chance.choice((1, 2, 3, 8))
    for one in range(count):
        word = f"piped-{number}-{one}"
        words.append(word)
        last = "Connection: close\r\n" if one == count - 1 else ""
        requests.append(_request(chance, word, last))
    return Exchange("pipelined", cut(chance, b"".join(requests)), ("GET",) * count, None, tuple(words))


def _request(chance: random.Random, word: str, more: str) -> bytes:
    method, rest = chance.choice(
        (
            ("GET", "tags/list"),
            ("GET", "manifests/latest"),
            ("GET", f"blobs/sha256:{'0' * 64}"),
            ("GET", "blobs/uploads/00000000-0000-4000-8000-000000000000"),
        )
    )
    space = chance.choice((" ", "", "\t", "  "))
    head = f"{method} /v2/{word}/{rest} HTTP/1.1\r\nHost:{space}x\r\n{more}"
    body = b"b" * chance.choice((0, 0, 1, 100, 5000))
    if not body:
        return f"{head}\r\n".encode()
    if chance.random() < 0.5:
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    step = chance.choice((1, 7, 1000)) if len(body) < 1000 else 1000
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    size = chance.choice(("%x", "%X", "0%x", "%x;a=b", '%x;a="b c"'))
    framed = b"".join((size % len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    trailer = chance.choice((b"", b"", b"X-Sum: 1\r\n"))
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\n" + trailer + b"\r\n"
