"""An upstream for servers that mirror: a registry in this process, which counts the bytes that it sends."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.bench.connection import TIMEOUT_SECONDS
from tests.bench.content import MANIFEST, Blob, config, digest_of, manifest, small_blobs

PIECE_BYTES = 64 << 10
OCTETS = "application/octet-stream"
RANGE = re.compile(r"bytes=([0-9]+)-")


@dataclass(frozen=True, slots=True)
class Halt:
    """A place at which every blob stops until the upstream may go on."""

    place: int
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


class Source:
    """Has manifests under `tags`, and the blobs that it is given, in every repository."""

    def __init__(self, tags: int = 0) -> None:
        self.sent_bytes = 0
        self.bytes_per_second: float | None = None
        self.begun = threading.Event()
        self.halt: Halt | None = None
        self.tags = [f"t{number}" for number in range(tags)]
        self._blobs: dict[str, Blob] = {}
        self._manifests: dict[str, bytes] = {}
        self._counting = threading.Lock()
        blobs = (config(), *small_blobs(2))
        for tag in self.tags:
            content = manifest(blobs)
            self._manifests[tag] = self._manifests[digest_of(content)] = content
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, blob: Blob) -> Blob:
        """Have a blob."""
        self._blobs[blob.digest] = blob
        return blob

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def blob(self, digest: str) -> Blob | None:
        """A blob that it has."""
        return self._blobs.get(digest)

    def manifest(self, reference: str) -> bytes | None:
        """A manifest, by tag or digest."""
        return self._manifests.get(reference)

    def pieces(self, blob: Blob, start: int) -> Iterator[memoryview]:
        """The bytes from `start` on, counted before they are sent, no faster than they may be."""
        began, sent = time.monotonic(), 0
        for piece in _cut(blob, start):
            self.begun.set()
            if self.halt is not None and start + sent >= self.halt.place:
                self.halt.reached.set()
                self.halt.over.wait(TIMEOUT_SECONDS)
            if self.bytes_per_second is not None:
                time.sleep(max(0.0, began + sent / self.bytes_per_second - time.monotonic()))
            with self._counting:
                self.sent_bytes += len(piece)
            sent += len(piece)
            yield piece


def _cut(blob: Blob, start: int) -> Iterator[memoryview]:
    """The bytes of a blob from `start` on, in small pieces."""
    place = 0
    for part in (memoryview(one) for one in blob.body):
        for begin in range(max(0, start - place), len(part), PIECE_BYTES):
            yield part[begin : begin + PIECE_BYTES]
        place += len(part)


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # all of a crowd may come at once
    daemon_threads = True

    def __init__(self, source: Source) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source

    def handle_error(self, *_: Any) -> None:
        """Whoever asked has gone, as one does that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def _answer(self) -> None:
        kind, _, name = self.path.rpartition("/")
        source = self.server.source
        if self.path == "/v2/":
            self._send("application/json", b"{}")
        elif kind.endswith("/manifests") and (content := source.manifest(name)) is not None:
            self._send(MANIFEST, content, digest_of(content))
        elif kind.endswith("/blobs") and (blob := source.blob(name)) is not None:
            self._give(blob)
        else:
            self.send_error(404)

    def _send(self, kind: str, body: bytes, digest: str | None = None) -> None:
        self._head(200, len(body), kind, digest)
        if self.command == "GET":
            self.wfile.write(body)

    def _give(self, blob: Blob) -> None:
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        told = f"bytes {start}-{blob.size_bytes - 1}/{blob.size_bytes}" if asked else None
        self._head(206 if asked else 200, blob.size_bytes - start, OCTETS, blob.digest, told)
        if self.command == "GET":
            for piece in self.server.source.pieces(blob, start):
                self.connection.sendall(piece)

    def _head(
        self, status: int, size_bytes: int, kind: str, digest: str | None, content_range: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size_bytes))
        self.send_header("Content-Type", kind)
        if digest is not None:
            self.send_header("Docker-Content-Digest", digest)
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        self.end_headers()
