"""What the composition root puts around both listeners."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from registry.app import RegistryApplication
from registry.config import Config


class Serving:
    """An application that has started."""

    def __init__(self, app: RegistryApplication) -> None:
        self._app = app

    async def status(self, listener: str, path: str, *headers: tuple[bytes, bytes]) -> int:
        found: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
        }
        await self._app.asgi(listener)(scope, receive, send)
        return found[0]


@asynccontextmanager
async def serving(root: Path, ops: str) -> AsyncIterator[Serving]:
    app = RegistryApplication(Config.model_validate({"storage": {"root": str(root)}, "ops": {"listen": ops}}))
    await app.start()
    try:
        yield Serving(app)
    finally:
        await app.stop()


LOCAL = (b"host", b"localhost:5001")
REBOUND = (b"host", b"rebound.example")
ORIGIN = (b"origin", b"http://rebound.example")


@pytest.mark.parametrize(("listener", "path"), [("registry", "/v2/"), ("ops", "/metrics")])
async def test_without_rules_no_web_page_reads_either_listener(
    tmp_path: Path, listener: str, path: str
) -> None:
    async with serving(tmp_path, "127.0.0.1:0") as app:
        assert await app.status(listener, path, LOCAL) == 200
        assert await app.status(listener, path) == 200
        assert await app.status(listener, path, REBOUND) == 403
        assert await app.status(listener, path, LOCAL, ORIGIN) == 403
        assert await app.status(listener, path, LOCAL, REBOUND) == 400
        assert await app.status(listener, path, REBOUND, LOCAL) == 400


async def test_an_ops_listener_for_the_network_answers_to_any_name(tmp_path: Path) -> None:
    async with serving(tmp_path, "0.0.0.0:0") as app:
        assert await app.status("ops", "/metrics", REBOUND) == 200
        assert await app.status("ops", "/metrics", REBOUND, LOCAL) == 400
