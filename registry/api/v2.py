"""The distribution API: finds the endpoint, asks the rules, calls the handler, renders what it raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from registry.access.rights import Right
from registry.api import blobs, lists, manifests, uploads
from registry.api.calls import V2_HEADERS, Call, Services, raw
from registry.api.errors import render
from registry.api.foreign import note_foreign, told_if_foreign
from registry.api.paths import Endpoint, Target, parse
from registry.api.refusals import refusal
from registry.api.witness import origin
from registry.errors import NotFoundHere, RegistryError, Unauthorized, Unsupported
from registry.model.names import RepositoryName, Tag
from registry.server.application import ClientGone, Unfinished

Handler = Callable[[Call], Awaitable[Response]]


async def base(_: Call) -> Response:
    """That this is a registry, and that the caller may use it (dist-spec: Determining Support)."""
    return Response(b"{}", media_type="application/json")


# Each endpoint's methods, with the right that each needs (None: whoever may talk to the registry at all).
ROUTES: Mapping[Endpoint, Mapping[str, tuple[Handler, Right | None]]] = {
    Endpoint.BASE: {"GET": (base, None)},
    Endpoint.CATALOG: {"GET": (lists.catalog, "list")},
    Endpoint.TAGS: {"GET": (lists.tags, "pull")},
    Endpoint.REFERRERS: {"GET": (lists.referrers, "pull")},
    Endpoint.MANIFEST: {
        "GET": (manifests.get, "pull"),
        "PUT": (manifests.put, "create"),
        "DELETE": (manifests.delete, "delete"),
    },
    Endpoint.BLOB: {"GET": (blobs.get, "pull"), "DELETE": (blobs.delete, "delete")},
    Endpoint.UPLOADS: {"POST": (uploads.post, "create")},
    Endpoint.UPLOAD: {
        "GET": (uploads.get, "create"),
        "PATCH": (uploads.patch, "create"),
        "PUT": (uploads.put, "create"),
        # Whoever may push may give up pushing: clients hold no token for more.
        "DELETE": (uploads.delete, "create"),
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
            await self._services.answer_memory.send(response, scope, receive, answer)
        except ClientGone:
            raise
        except Exception as error:
            refused = told_if_foreign(request, refusal(self._services, scope, error))
            if started:
                # What is on its way cannot be taken back; the client must see that it is not whole.
                raise Unfinished from error

            def rendered(error: RegistryError) -> Response:
                response = render(error, head=request.method == "HEAD")
                response.raw_headers.extend(_RAW_HEADERS)
                return response

            await self._services.answer_memory.refuse(refused, rendered, scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        target = parse(request.scope["path"])
        if target is None:
            raise NotFoundHere(detail={"path": request.scope["path"]})
        request.scope["route"] = target.endpoint.value
        name, ns = self._name(request, target)
        handler, right = self._route(target, request.method)
        caller = await self._services.gate.caller(
            request.headers.getlist("authorization"), origin(request.scope)
        )
        request.scope["principal"] = str(caller.principal)
        if right is not None:
            caller.require(right, name, _tag_to_delete(target, right))
        elif caller.must_log_in and "namespace" not in request.scope:
            # Where a listener is bound to one: docker would log in to it as it does to Docker Hub, and leave.
            raise Unauthorized
        call = Call(request, self._services, name, target.reference, caller, target.name, ns)
        response = await handler(call)
        if not isinstance(response, blobs.BlobResponse):
            response.raw_headers.extend(_RAW_HEADERS)
            if self._services.mirrors is not None:
                warnings = request.scope.get("warnings", ())
                response.raw_headers.extend(raw(call.namespace))
                response.raw_headers.extend((b"warning", one.encode()) for one in warnings)
        return response

    def _name(self, request: Request, target: Target) -> tuple[RepositoryName | None, str | None]:
        """The repository that is meant, and the host that the client believes that it asks.

        Pulls may be meant for a namespace that a listener is bound to, or that answers for the `ns` of the
        query (dist-spec: Registry Proxying); everything else ignores that.
        """
        if not target.name and target.endpoint not in _NAMED:
            return None, None
        name, mirrors = RepositoryName(target.name), self._services.mirrors
        if request.method not in ("GET", "HEAD"):
            return name, None
        bound = request.scope.get("namespace")
        if mirrors is not None and bound is not None:
            return mirrors.named(bound).repository(name), None
        if target.endpoint is Endpoint.UPLOAD:
            # Whoever pushes asks how far that has come.
            return name, None
        host = request.query_params.get("ns", "")
        mirror = None if mirrors is None else mirrors.answering(host)
        if mirror is not None:
            return mirror.repository(name), host
        if host:
            note_foreign(request, host, self._services.url)
        return name, None

    def _route(self, target: Target, method: str) -> tuple[Handler, Right | None]:
        methods = ROUTES[target.endpoint]
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
            raise Unsupported(
                f"this endpoint answers {', '.join(allowed)}, not {method}",
                headers={"Allow": ", ".join(allowed)},
            )
        return route


def _tag_to_delete(target: Target, right: Right) -> Tag | None:
    """The tag that alone a delete is about: it may be granted for some tags, and for no content."""
    if target.endpoint is not Endpoint.MANIFEST or right != "delete" or ":" in target.reference:
        return None
    return Tag(target.reference)


# No handler sets one of these itself; to look for each would cost as much as the rest of an answer's head.
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in V2_HEADERS.items()]
_NAMED = frozenset(Endpoint) - {Endpoint.BASE, Endpoint.CATALOG}
