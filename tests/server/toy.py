"""A small application, which notes in a journal what happens to it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from registry.metrics import Metrics
from registry.server import ASGIApp, StartFailed
from registry.server.application import ClientGone, Receive, Scope, Send


class Toy:
    """Answers by path; `/stuck` and `/begun` end only when cancelled, and then clean up in a thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.draining = False
        self.content: bytes | None = None
        self.metrics = Metrics("1")

    def note(self, what: str) -> None:
        with open(self.directory / "journal", "a", encoding="utf-8") as journal:
            journal.write(what + "\n")

    async def start(self) -> None:
        if (self.directory / "refuse").exists():
            raise StartFailed("the store is not there; make it")
        if (self.directory / "break").exists():
            raise ZeroDivisionError("a mistake in the program")
        self.note(f"started {os.getpid()}")

    async def drain(self) -> None:
        self.draining = True
        self.note("draining")

    async def stop(self) -> None:
        self.note("stopped")

    def asgi(self, listener: str) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope["path"]
            self.metrics.began(listener)
            if path == "/metrics":
                await answer(send, 200, self.metrics.render()[0].decode())
                return
            if path == "/slow":
                self.note("slow began")
                while not (self.directory / "go").exists():
                    await asyncio.sleep(0.01)
            elif path == "/body":
                length, more = 0, True
                while more:
                    message = await receive()
                    length, more = length + len(message["body"]), message["more_body"]
                await answer(send, 200, str(length))
                return
            elif path == "/late":
                # The headers as they stand when the body has ended.
                while (await receive())["more_body"]:
                    pass
                await answer(send, 200, " ".join(name.decode() for name, _ in scope["headers"]))
                return
            elif path == "/extensions":
                await answer(send, 200, " ".join(scope.get("extensions", {})))
                return
            elif path == "/early":
                # Nothing of the body was read.
                await answer(send, 403, "no")
                return
            elif path in ("/file", "/bytes"):
                await self.give(path, send)
                return
            elif path in ("/whole", "/chunked"):
                await self.give_whole(send, chunked=path == "/chunked")
                return
            elif path == "/hold":
                await self.hold(receive, send)
                return
            elif path == "/fail":
                raise ZeroDivisionError("a mistake in the program")
            elif path in ("/stuck", "/begun"):
                await self.be_stuck(path, send)
            status = 503 if path == "/ready" and self.draining else 200
            await answer(send, status, f"{listener} {os.getpid()} {scope['scheme']}")

        return app

    async def give(self, path: str, send: Send) -> None:
        """Send the file `content`, by the kernel or in pieces, and note when the client leaves meanwhile."""
        with open(self.directory / "content", "rb") as file:
            size = file.seek(0, os.SEEK_END) if not (self.directory / "promise").exists() else 64 << 20
            headers = [(b"content-length", b"%d" % size)]
            try:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if path == "/file":
                    await send(
                        {
                            "type": "http.response.zerocopysend",
                            "file": file.fileno(),
                            "offset": 0,
                            "count": size,
                        }
                    )
                    return
                file.seek(0)
                while piece := file.read(1 << 20):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body"})
            except ClientGone:
                self.note("client gone")
                raise

    async def give_whole(self, send: Send, *, chunked: bool) -> None:
        """Send the file `content` at once, from one copy in memory for everybody."""
        if self.content is None:
            self.content = (self.directory / "content").read_bytes()
        headers = [] if chunked else [(b"content-length", b"%d" % len(self.content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.content})

    async def hold(self, receive: Receive, send: Send) -> None:
        """Read a body to its end, or the client's, and note what had come."""
        received = 0
        self.note("hold began")
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.note(f"left after {received}")
                await answer(send, 400, f"left after {received}")
                return
            received += len(message["body"])
            if not message["more_body"]:
                break
        await answer(send, 200, str(received))

    async def be_stuck(self, path: str, send: Send) -> None:
        if path == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"beg", "more_body": True})
        self.note("stuck began")
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.to_thread(self.note, "cleaning up")
                await asyncio.to_thread(self.note, "cleaned up")
            except asyncio.CancelledError:
                self.note("cancelled again")
                raise


async def answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def build(argument: object) -> Toy:
    assert isinstance(argument, str)
    return Toy(Path(argument))
