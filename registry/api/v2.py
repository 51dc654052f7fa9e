"""The distribution API: finds the endpoint, asks the rules, calls the handler, renders what it raises."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from registry import logs
from registry.access.rules import Action
from registry.api import blobs, lists, manifests, uploads
from registry.api.calls import V2_HEADERS, Call, Services
from registry.api.errors import render, translate
from registry.api.paths import Endpoint, Target, parse
from registry.errors import Denied, NotFoundHere, RegistryError, Unsupported
from registry.model.names import RepositoryName
from registry.server.application import ClientGone

_LOG = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Response]]


async def base(_: Call) -> Response:
    """That this is a registry, and that the caller may use it (dist-spec: Determining Support)."""
    return Response(b"{}", media_type="application/json")


# Each endpoint's methods, with the right that each needs (None: whoever may talk to the registry at all).
ROUTES: Mapping[Endpoint, Mapping[str, tuple[Handler, Action | None]]] = {
    Endpoint.BASE: {"GET": (base, None)},
    Endpoint.CATALOG: {"GET": (lists.catalog, None)},
    Endpoint.TAGS: {"GET": (lists.tags, "pull")},
    Endpoint.REFERRERS: {"GET": (lists.referrers, "pull")},
    Endpoint.MANIFEST: {
        "GET": (manifests.get, "pull"),
        "PUT": (manifests.put, "push"),
        "DELETE": (manifests.delete, "delete"),
    },
    Endpoint.BLOB: {"GET": (blobs.get, "pull"), "DELETE": (blobs.delete, "delete")},
    Endpoint.UPLOADS: {"POST": (uploads.post, "push")},
    Endpoint.UPLOAD: {
        "GET": (uploads.get, "push"),
        "PATCH": (uploads.patch, "push"),
        "PUT": (uploads.put, "push"),
        # Whoever may push may give up pushing: clients hold no token for more.
        "DELETE": (uploads.delete, "push"),
    },
}


class V2:
    """The ASGI application of everything under `/v2/`: each answer, errors too, is the specification's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever a handler raises after the head was sent breaks the connection."""
        request = Request(scope, receive)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
            await send(message)

        try:
            response = await self._handle(request)
            await response(scope, receive, answer)
        except ClientGone:
            raise
        except Exception as error:
            translated = translate(error)
            if type(translated) is RegistryError:
                logs.event(_LOG, logging.ERROR, "request.failed", exception=error, path=scope["path"])
            elif translated.status >= 500:
                logs.event(_LOG, logging.WARNING, "request.refused", reason=str(error), path=scope["path"])
            if started:
                # What is on its way cannot be taken back; the client must see that it is not whole.
                raise
            response = render(translated, head=request.method == "HEAD")
            response.raw_headers.extend(_RAW_HEADERS)
            await response(scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        target = parse(request.scope["path"])
        if target is None:
            raise NotFoundHere(detail={"path": request.scope["path"]})
        request.scope["route"] = target.endpoint.value
        name = RepositoryName(target.name) if target.name or target.endpoint in _NAMED else None
        handler, right = self._route(target, request.method)
        # Who asks: the rules that exist today know nobody but the anonymous.
        call = Call(request, self._services, name, target.reference, "anonymous")
        if right is not None:
            assert name is not None
            decision = self._services.policy.allows(right, name)
            if not decision.allowed:
                raise Denied(decision.reason, detail={"name": name, "action": right})
        response = await handler(call)
        if not isinstance(response, blobs.BlobResponse):
            response.raw_headers.extend(_RAW_HEADERS)
        return response

    def _route(self, target: Target, method: str) -> tuple[Handler, Action | None]:
        methods = ROUTES[target.endpoint]
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
            raise Unsupported(
                f"this endpoint answers {', '.join(allowed)}, not {method}",
                headers={"Allow": ", ".join(allowed)},
            )
        return route


# No handler sets one of these itself; to look for each would cost as much as the rest of an answer's head.
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in V2_HEADERS.items()]
_NAMED = frozenset(Endpoint) - {Endpoint.BASE, Endpoint.CATALOG}
