"""The operations API in this process, and a client of it that stays, or leaves when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from starlette.types import Message, Scope

from registry.access.audit import Audit
from registry.access.audit.kept import AuditStore
from registry.access.callers import Caller
from registry.access.gate import Gate
from registry.access.logins import Origin
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.rules import read_rules
from registry.api.calls import Limits, Services
from registry.api.memory import AnswerMemory, ManifestMemory
from registry.api.operations import OperationsAPI
from registry.core.registry import Registry
from registry.errors import Unauthorized
from registry.server.application import ClientGone
from registry.work.operations import Operation, Operations
from tests.access.audit.lines import Lines, trail

JSON = ("content-type", "application/json")
LINES = ("accept", "application/x-ndjson")


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        assert self.headers["content-type"] == "application/x-ndjson"
        assert self.body.endswith(b"\n")
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def errors(self) -> list[tuple[str, str]]:
        return [(one["code"], one["message"]) for one in self.json()["errors"]]


class Client:
    """One that asks, and takes what it is sent while `reads` is set.

    `left` is set when it goes, and nobody hears what is sent after that.
    """

    def __init__(self, app: Callable[[Scope, Any, Any], Awaitable[None]]) -> None:
        self._app = app
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.answer = Answer()

    async def ask(
        self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        self.answer = answer = Answer()
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pending:
                return pending.pop()
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if self.left.is_set():
                raise ClientGone
            if message["type"] == "http.response.start":
                assert answer.status == 0
                answer.status = message["status"]
                told = [(name.decode(), value.decode()) for name, value in message["headers"]]
                answer.headers = dict(told)
                assert len(answer.headers) == len(told)
            else:
                assert answer.status
                await self.reads.wait()
                answer.pieces.append(message["body"])

        place, _, query = path.partition("?")
        fields = [(name.lower().encode(), value.encode()) for name, value in headers]
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": place,
            "query_string": query.encode(),
            "headers": [*fields, (b"content-length", str(len(body)).encode())],
            "client": ("127.0.0.1", 1),
            "client_address": "127.0.0.1",
            "server": ("127.0.0.1", 5000),
            "scheme": "http",
        }
        await self._app(scope, receive, send)
        return answer

    async def do(self, name: str, headers: Iterable[tuple[str, str]] = (), /, **document: object) -> Answer:
        """Ask for an operation."""
        return await self.ask("POST", place(name), [JSON, *headers], json.dumps(document).encode())


def place(name: str) -> str:
    """Where an operation is."""
    return f"/api/v1/{name.replace('.', '/')}"


class KnownNames:
    """A gate to which `Authorization: NAME` is proof enough, until there is a real one here."""

    service = "moorage"
    realm: str | None = None

    def __init__(self, policy: Policy, people: Mapping[str, Caller] | None = None) -> None:
        self._policy = policy
        self._people = people or {}

    async def caller(self, authorization: Sequence[str], origin: Origin) -> Caller:
        if not authorization:
            return Caller(ANONYMOUS, self._policy)
        if authorization[0] in self._people:
            return self._people[authorization[0]]
        if not authorization[0].startswith("user:"):
            raise Unauthorized("nobody has this name and password")
        return Caller(Principal(authorization[0]), self._policy)


def policy_of(rules: str, folder: Path) -> Policy:
    """The policy of some rules."""
    file = folder / "access.yaml"
    file.write_text(rules)
    return Policy(read_rules(file))


def api(
    offered: Iterable[Operation[Any]],
    *,
    gate: KnownNames | None = None,
    url: str | None = None,
    beat_seconds: float = 60,
) -> OperationsAPI:
    """The API of some operations; without a gate everything is allowed."""
    services = Services(
        cast(Registry, None),
        cast(Gate, gate or KnownNames(Policy.open())),
        Limits(4 << 20, 100, 1000),
        ManifestMemory(1 << 20),
        AnswerMemory(1 << 20),
        Audit(trail(Lines()), cast(AuditStore, None)),
        "" if url is None else "/prefix",
        url,
    )
    return OperationsAPI(services, Operations(offered), beat_seconds=beat_seconds)
