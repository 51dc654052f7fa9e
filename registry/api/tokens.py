"""The token endpoint: credentials in, a token out (Distribution's token and OAuth 2 specifications)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.access.audit import Audit
from registry.access.gate import basic
from registry.access.logins import Origin
from registry.access.scopes import renamed
from registry.api.errors import render
from registry.api.paths import JWKS_PATH, TOKEN_PATH
from registry.api.refusals import told
from registry.api.witness import origin
from registry.errors import NotFoundHere, RegistryError, RequestInvalid, Unauthorized, Unsupported
from registry.server.application import ClientGone

if TYPE_CHECKING:
    from registry.mirror.mirror import Mirror
    from registry.mirror.mirrors import Mirrors

# As much as a lease of `memory.py` gives without asking; `registry.max_connections` bounds their number.
_MOST_BYTES = 64 << 10
_MOST_FIELDS = 200
# What is in an answer is for its client alone.
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Answer = dict[str, object]


class Issuing(Protocol):
    """Makes tokens; see `registry.access.issuing`."""

    async def for_password(
        self,
        name: str,
        password: str,
        origin: Origin,
        *,
        scopes: Iterable[str],
        service: str,
        client: str,
        offline: bool,
    ) -> Answer:
        """The answer for a name and a password. Raises Unauthorized, TooManyRequests, Unavailable."""

    async def for_identity(
        self, token: str, origin: Origin, *, scopes: Iterable[str], service: str
    ) -> Answer:
        """The answer for an identity token. Raises Unauthorized, Unavailable."""

    def for_anybody(self, *, scopes: Iterable[str], service: str) -> Answer:
        """The answer for nobody in particular."""

    def jwks(self) -> Answer:
        """The keys that tokens can be verified with."""


class GrantRefused(RequestInvalid):
    """The form asks for something that a token endpoint does not give."""


class TokenEndpoint:
    """The ASGI application of `/auth/token` and `/auth/jwks.json`.

    At `/auth/token/NAMESPACE` scopes leave out of the names of repositories the namespace of a mirror.
    """

    def __init__(self, issuing: Issuing, audit: Audit, mirrors: Mirrors | None) -> None:
        self._issuing = issuing
        self._audit = audit
        self._mirrors = {} if mirrors is None else {one.name: one for one in mirrors.each}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        scope["route"] = "token"
        try:
            answer = await self._answer(request)
            response = Response(
                json.dumps(answer, separators=(",", ":")), headers=_HEADERS, media_type="application/json"
            )
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 (whatever is raised is answered here)
            refused = told(self._audit, scope, error)
            response = render(_challenged(refused), head=request.method == "HEAD")
            response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        path, method = request.scope["path"], request.method
        if path == JWKS_PATH and method in ("GET", "HEAD"):
            return self._issuing.jwks()
        mirror = self._mirrors.get(path.removeprefix(f"{TOKEN_PATH}/"))
        if path != TOKEN_PATH and mirror is None:
            raise NotFoundHere(detail={"path": path})
        if method == "GET":
            return await self._get(request, mirror)
        if method == "POST":
            return await self._post(request, mirror)
        raise Unsupported(f"{path} answers GET and POST", headers={"Allow": "GET, POST"})

    async def _get(self, request: Request, mirror: Mirror | None) -> Answer:
        query = request.query_params
        scopes, service = _whole(query.getlist("scope"), mirror), query.get("service", "")
        credentials = _credentials(request.headers.getlist("authorization"))
        if credentials is not None:
            return await self._issuing.for_password(
                *credentials,
                origin(request.scope),
                scopes=scopes,
                service=service,
                client=query.get("client_id", ""),
                offline=query.get("offline_token") == "true",
            )
        if not scopes:
            # This is how clients log in; with no name at all that must not seem to succeed.
            raise Unauthorized("log in with a name and a password; without them a token needs a scope")
        return self._issuing.for_anybody(scopes=scopes, service=service)

    async def _post(self, request: Request, mirror: Mirror | None) -> Answer:
        form = await _form(request)
        scopes, service = _whole(form.get("scope", []), mirror), _one(form, "service")
        match _one(form, "grant_type"):
            case "password":
                return await self._issuing.for_password(
                    _one(form, "username"),
                    _one(form, "password"),
                    origin(request.scope),
                    scopes=scopes,
                    service=service,
                    client=_one(form, "client_id"),
                    offline=_one(form, "access_type") == "offline",
                )
            case "refresh_token":
                return await self._issuing.for_identity(
                    _one(form, "refresh_token"), origin(request.scope), scopes=scopes, service=service
                )
            case _:
                raise GrantRefused("grant_type must be password or refresh_token")


def _whole(scopes: list[str], mirror: Mirror | None) -> list[str]:
    return scopes if mirror is None else renamed(mirror.repository, scopes)


def _challenged(error: RegistryError) -> RegistryError:
    if isinstance(error, Unauthorized):
        error.headers["WWW-Authenticate"] = 'Basic realm="moorage"'
    return error


def _credentials(headers: Sequence[str]) -> tuple[str, str] | None:
    """Name and password; None for nobody in particular. Raises Unauthorized."""
    if not headers:
        return None
    kind, _, rest = headers[0].partition(" ")
    if len(headers) > 1 or kind.lower() != "basic":
        raise Unauthorized("the token endpoint takes one Authorization header, with Basic credentials")
    name, password = basic(rest.strip())
    return (name, password) if name or password else None


async def _form(request: Request) -> Mapping[str, list[str]]:
    """The fields of a form. Raises RequestInvalid."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != (
        "application/x-www-form-urlencoded"
    ):
        raise RequestInvalid("the token endpoint takes a form: application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BYTES:
                raise RequestInvalid(f"the form has more than {_MOST_BYTES} bytes")
    except ClientDisconnect:
        raise RequestInvalid("the form did not arrive whole") from None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise RequestInvalid("the form cannot be read") from error


def _one(form: Mapping[str, list[str]], name: str) -> str:
    return form[name][0] if form.get(name) else ""
