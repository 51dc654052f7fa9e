"""Requests as they should be, of which every answer is known: none may get another's."""

from __future__ import annotations

import random

from tests.api.contents import digest_of
from tests.fuzz.exchange import Exchange
from tests.fuzz.smuggling import cut

NOWHERE = f"blobs/sha256:{'0' * 64}"
RESTS = ("tags/list", "manifests/latest", NOWHERE, "blobs/uploads/00000000-0000-4000-8000-000000000000")


def pipelined(chance: random.Random, _: tuple[str, ...], number: str) -> Exchange:
    """Several requests at once, with bodies that are wanted or not; each answer names its own repository."""
    words: list[str] = []
    methods: list[str] = []
    requests: list[bytes] = []
    count = chance.choice((1, 2, 3, 8))
    for one in range(count):
        word = f"piped-{number}-{one}"
        last = "Connection: close\r\n" if one == count - 1 else ""
        method, request = _request(chance, word, last)
        # The answer to a HEAD says nothing that could be compared.
        words.append("" if method == "HEAD" else word)
        methods.append(method)
        requests.append(request)
    return Exchange("pipelined", cut(chance, b"".join(requests)), tuple(methods), None, tuple(words))


def _request(chance: random.Random, word: str, more: str) -> tuple[str, bytes]:
    body = chance.randbytes(chance.choice((0, 0, 1, 100, 5000, 300_000)))
    method, rest = chance.choice(
        (
            *(("GET", rest) for rest in RESTS),
            ("HEAD", NOWHERE),
            ("POST", "blobs/uploads/"),
            ("POST", f"blobs/uploads/?digest={digest_of(body)}"),
            ("POST", f"blobs/uploads/?digest={digest_of(body, 'sha512')}"),
        )
    )
    space = chance.choice((" ", "", "\t", "  "))
    head = f"{method} /v2/{word}/{rest} HTTP/1.1\r\nHost:{space}x\r\n{more}"
    return method, head.encode() + _framed(chance, body)


def _framed(chance: random.Random, body: bytes) -> bytes:
    """The end of a head, and a body: in chunks, or of the length that the head says."""
    if not body and chance.random() < 0.8:
        return b"\r\n"
    if chance.random() < 0.5:
        return b"content-length: %d\r\n\r\n%s" % (len(body), body)
    step = chance.choice((1, 7, 1000)) if len(body) <= 100 else chance.choice((1000, 70_000))
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    size = chance.choice(("%x", "%X", "0%x", "%x;a=b", '%x;a="b c"'))
    framed = b"".join((size % len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    trailer = chance.choice((b"", b"", b"X-Sum: 1\r\n"))
    return b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailer + b"\r\n"
