"""An operation under way, and the client who waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from starlette.types import Receive, Send

from registry.api.calls import API_HEADERS, raw
from registry.server.application import ClientGone
from registry.work.documents import plain
from registry.work.operations import Progress, Result

LINES = "application/x-ndjson"


class Lines:
    """An answer made of lines of JSON, whose head goes out with the first of them."""

    def __init__(self, send: Send) -> None:
        self._send = send
        # An operation and the beat of its clock may have something to say at once.
        self._turn = asyncio.Lock()
        self.begun = False

    async def put(self, line: bytes | memoryview, *, last: bool = False) -> None:
        """Send a line, as `line_of` makes it. Raises ClientGone."""
        async with self._turn:
            if not self.begun:
                self.begun = True
                # The last keeps nginx from gathering lines until there are many.
                told = {"Content-Type": LINES, "X-Accel-Buffering": "no"}
                headers = [*raw(API_HEADERS), *raw(told)]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": line, "more_body": not last})


def line_of(document: object) -> bytes:
    """A document as JSON in a line of its own."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class Waiting:
    """A client that waits for an operation; with `lines` it is told how far that is.

    Whatever is quiet for `beat_seconds` is told again, so that neither client nor proxy takes it for dead.
    """

    def __init__(self, receive: Receive, beat_seconds: float, lines: Lines | None) -> None:
        self._receive = receive
        self._beat_seconds = beat_seconds
        self._lines = lines
        self._last = Progress(0)
        self._gone = False

    async def result(self, run: AsyncIterator[Progress | Result], *, to_its_end: bool) -> Result:
        """What comes of the operation; `to_its_end` has it go on though the client has left.

        Raises what it raises, and ClientGone when it was given up.
        """
        work = asyncio.create_task(self._work(run, to_its_end=to_its_end))
        leaving = asyncio.create_task(self._leave())
        try:
            while not work.done():
                watched = {work} if self._gone else {work, leaving}
                await asyncio.wait(watched, timeout=self._beat_seconds, return_when=asyncio.FIRST_COMPLETED)
                self._gone = self._gone or leaving.done()
                if work.done():
                    break
                if self._gone and not to_its_end:
                    raise ClientGone
                await self._tell(self._last, to_its_end=to_its_end)
            return work.result()
        finally:
            work.cancel()
            leaving.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)

    async def _work(self, run: AsyncIterator[Progress | Result], *, to_its_end: bool) -> Result:
        result = None
        # To its very end, so that it has cleaned up behind itself when the result is told.
        async with aclosing(cast(AsyncGenerator[Progress | Result, None], run)):
            async for step in run:
                if isinstance(step, Result):
                    result = step
                else:
                    self._last = step
                    await self._tell(step, to_its_end=to_its_end)
        if result is None:
            raise AssertionError("an operation ended without a result")
        return result

    async def _tell(self, progress: Progress, *, to_its_end: bool) -> None:
        if self._lines is None or self._gone:
            return
        try:
            await self._lines.put(line_of({"progress": plain(progress)}))
        except ClientGone:
            self._gone = True
            if not to_its_end:
                raise

    async def _leave(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
