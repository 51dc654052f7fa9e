"""The operations API, `/api/v1/`: the table of operations, generic over it, for whom the rules grant it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.access.callers import Caller
from registry.access.rights import Right
from registry.api.bodies import RequestBody
from registry.api.calls import API_HEADERS, Services, raw
from registry.api.openapi import describe
from registry.api.progress import LINES, Lines, Waiting, line_of
from registry.api.refusals import refusal
from registry.api.witness import origin, sender
from registry.errors import (
    Denied,
    InputInvalid,
    InputTooLarge,
    InputTypeUnsupported,
    ManifestInvalid,
    NotFoundHere,
    RegistryError,
    TooManyRequests,
    Unauthorized,
    Unsupported,
    entries,
)
from registry.model.documents import read_document
from registry.model.names import RepositoryName, Tag
from registry.server.application import ClientGone
from registry.work.documents import plain
from registry.work.inputs import WrongInput, read_input
from registry.work.operations import Context, Operation, Operations, Result, status_of

PREFIX = "/api/v1"
MOST_BYTES = 256 << 10
BEAT_SECONDS = 15.0
AT_ONCE = 16  # operations in one process


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation that somebody may have done, and what it was given."""

    operation: Operation[Any]
    input: Any
    context: Context


class OperationsAPI:
    """The ASGI application of `/api/v1/`; every answer is JSON, errors too."""

    def __init__(self, services: Services, table: Operations, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._services = services
        self._by_path = {f"/{'/'.join(one.words)}": one for one in table if not one.local}
        self._beat_seconds = beat_seconds
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        lines = Lines(send)
        try:
            await self._answer(request, lines, send)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 (whatever an operation raises is answered here)
            refused = refusal(self._services, scope, error)
            if lines.begun:
                await lines.put(line_of(_refused(refused)), last=True)
                return

            def rendered(error: RegistryError) -> Response:
                return _json(_refused(error), error.status, error.headers)

            await self._services.answer_memory.refuse(refused, rendered, scope, receive, send)

    async def _answer(self, request: Request, lines: Lines, send: Send) -> None:
        if "origin" in request.headers:
            raise Denied("web pages may not use the operations API")
        path = request.scope["path"].removeprefix(PREFIX)
        operation = self._by_path.get(path)
        if operation is None:
            response = await self._described(request, path)
            await self._services.answer_memory.send(response, request.scope, request.receive, send)
            return
        request.scope["route"] = operation.name
        _require_method(request, "POST")
        caller = await self._caller(request)
        asked = await self._asked(request, operation, caller)
        wants_lines = _accepts(request, LINES)
        waiting = Waiting(request.receive, self._beat_seconds, lines if wants_lines else None)
        with self._turn():
            run = operation.run(asked.input, asked.context)
            response = _json(_document(await waiting.result(run, to_its_end=operation.changes)))
        # What was done must not seem to have failed.
        with self._services.answer_memory.holding(response.body, refuse=not operation.changes):
            if wants_lines:
                await lines.put(response.body, last=True)
            else:
                await response(request.scope, request.receive, send)

    async def _described(self, request: Request, path: str) -> Response:
        """What there is, for whoever may talk to the registry at all."""
        if path not in ("", "/", "/openapi.json"):
            raise NotFoundHere(detail={"path": request.scope["path"]})
        request.scope["route"] = "operations"
        _require_method(request, "GET", "HEAD")
        if (await self._caller(request)).must_log_in:
            raise Unauthorized
        address = self._services.prefix + PREFIX
        if path == "/openapi.json":
            return _json(describe(self._by_path, address))
        offered = [
            {
                "name": one.name,
                "path": address + place,
                "summary": one.summary,
                "right": one.right,
                "deletes": one.deletes,
            }
            for place, one in self._by_path.items()
        ]
        return _json({"operations": offered, "openapi": f"{address}/openapi.json"})

    async def _caller(self, request: Request) -> Caller:
        headers = request.headers.getlist("authorization")
        caller = await self._services.gate.caller(headers, origin(request.scope))
        request.scope["principal"] = str(caller.principal)
        return caller

    async def _asked(self, request: Request, operation: Operation[Any], caller: Caller) -> Asked:
        """What is asked for, allowed by rules and token."""
        document = await self._body(request)
        problems: list[tuple[str, str]] = []
        dry_run = document.pop("dry_run", False) if operation.rehearses else False
        if not isinstance(dry_run, bool):
            problems.append(("dry_run", "must be true or false"))
        try:
            given = read_input(operation.input, document)
        except WrongInput as error:
            problems += error.problems
        if problems:
            first, *others = (
                InputInvalid(f"{name}: {message}", detail={"field": name}) for name, message in problems
            )
            first.also = tuple(others)
            raise first
        caller.require(cast(Right, operation.right), *operation.touches(given))

        def refusal(right: str, repository: RepositoryName | None, tag: Tag | None) -> str | None:
            if operation.right == "list":
                # A token is good for the list as a whole; what it shows is for the rules to say.
                decision = caller.decide(cast(Right, right), repository, tag)
                return None if decision.allowed else decision.reason
            refused = caller.refusal(cast(Right, right), repository, tag)
            return None if refused is None else refused.message

        def denial(right: str, repository: RepositoryName | None, tag: Tag | None) -> str | None:
            denied = caller.policy.denial(caller.principal, cast(Right, right), repository, tag)
            return None if denied is None else denied.reason

        rule = caller.decide(cast(Right, operation.right), *operation.touches(given)).reason
        bound = caller.principal.bound
        behalf = "" if bound is None else str(bound.owner or "operator")
        context = Context(
            str(caller.principal), bool(dry_run), refusal, denial, behalf, **sender(request.scope), rule=rule
        )
        return Asked(operation, given, context)

    async def _body(self, request: Request) -> dict[str, Any]:
        if request.scope["query_string"]:
            raise InputInvalid("an operation is given its input in the body, and has no query parameters")
        # No form can send this type, so no web page can have a browser send it unasked.
        told = request.headers.get("content-type", "")
        if told.partition(";")[0].strip().lower() != "application/json":
            raise InputTypeUnsupported
        too_large = InputTooLarge(f"the input of an operation has at most {MOST_BYTES} bytes")
        with self._services.manifest_memory.lease() as lease:
            content = await RequestBody(request).read(MOST_BYTES, lease, too_large)
            try:
                return read_document(content, "the input")
            except ManifestInvalid as error:
                raise InputInvalid(error.message) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._running >= AT_ONCE:
            raise TooManyRequests(
                f"{AT_ONCE} operations are under way in this process; try again shortly",
                headers={"Retry-After": "5"},
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


def _document(result: Result) -> dict[str, object]:
    return {"status": result.status.value, "result": plain(result.value), "note": result.text}


def _refused(error: RegistryError) -> dict[str, object]:
    return {"errors": entries(error), "status": status_of(error).value}


def _json(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(line_of(document), status, headers, "application/json")
    response.raw_headers.extend(raw(API_HEADERS))
    return response


def _require_method(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Unsupported(
            f"this endpoint answers {', '.join(methods)}, not {request.method}",
            headers={"Allow": ", ".join(methods)},
        )


def _accepts(request: Request, media_type: str) -> bool:
    accepted = ",".join(request.headers.getlist("accept")).split(",")
    return any(one.partition(";")[0].strip().lower() == media_type for one in accepted)
