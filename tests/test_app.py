"""What the composition root puts around both listeners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from registry import logs
from registry.app.offering import operations
from registry.app.serving import RegistryApplication
from registry.config import Config
from registry.errors import ReadOnly
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout, parsing
from registry.upkeep.operations import Switch
from registry.work.operations import Context, Operation
from storage.contract import Driver
from storage.metered import MeteredDriver
from storage.timed import Observe, TimedDriver


class Serving:
    """An application that has started."""

    def __init__(self, app: RegistryApplication) -> None:
        self._app = app

    async def status(self, listener: str, path: str, *headers: tuple[bytes, bytes]) -> int:
        return (await self.ask("GET", listener, path, *headers))[0]

    async def ask(
        self, method: str, listener: str, path: str, *headers: tuple[bytes, bytes], sent: bytes = b""
    ) -> tuple[int, bytes]:
        found: list[int] = []
        body = bytearray()

        async def receive() -> Message:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])
            body.extend(message.get("body", b""))

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
        }
        await self._app.asgi(listener)(scope, receive, send)
        return found[0], bytes(body)


@asynccontextmanager
async def serving(root: Path, ops: str, **more: object) -> AsyncIterator[Serving]:
    app = RegistryApplication(
        Config.model_validate({"storage": {"root": str(root)}, "ops": {"listen": ops}, **more})
    )
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


async def test_a_newer_program_that_takes_the_store_over_ends_all_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.app.serving._STORAGE_SECONDS", 0.001)
    mark = tmp_path / "data" / layout.FORMAT

    async def begin() -> tuple[int, bytes]:
        return await app.ask("POST", "registry", "/v2/a/blobs/uploads/")

    async def until(status: int) -> bytes:
        while True:
            found, body = await begin()
            if found == status:
                return body
            await asyncio.sleep(0.001)

    with open(tmp_path / "log", "wb") as log, logs.writing("json", "info", descriptor=log.fileno()):
        async with serving(tmp_path / "data", "127.0.0.1:0") as app:
            assert (await begin())[0] == 202
            ours = mark.read_bytes()
            mark.write_text('{"oldest_writer": 99}')
            assert b"the store allows writers from level 99 on" in await until(503)
            assert await app.status("registry", "/v2/_catalog") == 200
            # Looked at again and again, and said once.
            for _ in range(20):
                await asyncio.sleep(0.001)
            mark.unlink()
            mark.write_bytes(b"")
            while b"cannot be read" not in await until(503):
                await asyncio.sleep(0.001)
            mark.write_bytes(ours)
            await until(202)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    told = [line["reason"] for line in lines if line["event"] == "format.outdated"]
    assert "level 99" in told[0]
    assert layout.FORMAT in told[-1]
    assert len(told) == len(set(told)) == 2


@pytest.mark.parametrize(
    ("listener", "path"), [("registry", "/livez"), ("ops", "/livez"), ("ops", "/readyz")]
)
async def test_health_asks_nothing_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: str, path: str
) -> None:
    metered: list[MeteredDriver] = []

    def meter(driver: Driver, observe: Observe) -> Driver:
        metered.append(MeteredDriver(TimedDriver(driver, observe)))
        return metered[-1]

    monkeypatch.setattr("registry.app.serving.TimedDriver", meter)
    async with serving(tmp_path, "127.0.0.1:0") as app:
        assert metered[0].calls
        metered[0].reset()
        # Nothing else runs meanwhile, unless it waits for something.
        assert await app.status(listener, path) == 200
        assert not metered[0].calls


async def test_an_ops_listener_for_the_network_answers_to_any_name(tmp_path: Path) -> None:
    async with serving(tmp_path, "0.0.0.0:0") as app:
        assert await app.status("ops", "/metrics", REBOUND) == 200
        assert await app.status("ops", "/metrics", REBOUND, LOCAL) == 400


class Hanging(MeteredDriver):
    """Gives no blob's bytes before `go_on`; `held` counts those who wait for some."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.hangs = False
        self.held = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def get(self, key: str, *, limit: int) -> bytes:
        """When it is let."""
        if self.hangs and parsing.digest_of(key) is not None:
            self.held.release()
            await self.go_on.wait()
        return await super().get(key, limit=limit)


async def test_manifests_that_the_storage_holds_up_hold_up_none_that_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging: list[Hanging] = []

    def hang(driver: Driver, observe: Observe) -> Driver:
        hanging.append(Hanging(TimedDriver(driver, observe)))
        return hanging[-1]

    monkeypatch.setattr("registry.app.serving.TimedDriver", hang)
    monkeypatch.setattr("registry.work.effects._PATIENCE_SECONDS", 0.05)

    async def get(number: int, method: str = "GET") -> int:
        return (await app.ask(method, "registry", f"/v2/a/manifests/t{number}"))[0]

    index = "application/vnd.oci.image.index.v1+json"
    async with serving(tmp_path, "127.0.0.1:0") as app:
        for number in range(18):
            document = {
                "schemaVersion": 2,
                "mediaType": index,
                "manifests": [],
                "annotations": {"n": f"{number}"},
            }
            sent = json.dumps(document).encode()
            path = f"/v2/a/manifests/t{number}"
            header = (b"content-type", index.encode())
            assert (await app.ask("PUT", "registry", path, header, sent=sent))[0] == 201
    # One that remembers nothing of what was pushed.
    async with serving(tmp_path, "127.0.0.1:0") as app, asyncio.timeout(30):
        assert await get(17) == 200
        hanging[-1].hangs = True
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(get(number)) for number in range(8)]
            for _ in reading:
                await hanging[-1].held.acquire()
            assert [await get(17), await get(17, "HEAD")] == [200, 200], "what is in memory"
            assert [await get(16), await get(16, "HEAD")] == [503, 503], "and nobody waits for ever"
            hanging[-1].go_on.set()
        assert [task.result() for task in reading] == [200] * 8
        assert await get(16) == 200


async def test_a_command_notices_that_writing_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.app.offering.LOOK_SECONDS", 0.001)
    config = Config.model_validate({"storage": {"root": str(tmp_path / "data")}})
    async with operations(config) as table, operations(config) as another:
        await _ended(table["storage.reindex"])
        await _ended(another["storage.read-only"], switch=Switch.ON)
        while True:
            try:
                await _ended(table["storage.reindex"])
            except ReadOnly:
                break
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("enabled", [True, False])
async def test_metrics_tell_of_a_count_that_a_command_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    """Also where servers do not count by themselves."""
    monkeypatch.setattr("registry.app.serving._TELL_USAGE_SECONDS", 0.001)
    root = tmp_path / "data"
    async with serving(root, "127.0.0.1:0", usage={"enabled": enabled}) as app:
        assert await app.status("registry", "/v2/") == 200
        async with operations(Config.model_validate({"storage": {"root": str(root)}})) as table:
            repository, content = RepositoryName("a"), b"x" * 1000
            link = root / layout.layer_link(repository, Digest.of(content))
            data = root / layout.blob_data(Digest.of(content))
            for path, written in ((link, str(Digest.of(content)).encode()), (data, content)):
                path.parent.mkdir(parents=True)
                path.write_bytes(written)
            await _ended(table["usage.count"])
        while b"\nmoorage_usage_bytes 1000.0\n" not in (await app.ask("GET", "ops", "/metrics"))[1]:
            await asyncio.sleep(0.001)


async def _ended(operation: Operation[Any], **asked: object) -> None:
    async for _ in operation.run(operation.input(**asked), Context("operator", dry_run=False)):
        pass
