"""One request on its way through the API: who asks, for what, and what answers are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from registry.access.rules import Action, Policy
from registry.api.bodies import RequestBody
from registry.api.memory import ManifestMemory
from registry.core.registry import Registry, Repository
from registry.model.digests import Digest
from registry.model.names import RepositoryName

# On every answer under /v2/: old engines look for the first, browsers must not render what was pushed.
V2_HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the API bounds: bytes of a manifest, tags of one push, entries of a catalog page."""

    manifest_bytes: int
    tags_per_push: int
    catalog_entries: int


@dataclass(frozen=True, slots=True)
class Services:
    """What every handler may call; `prefix` is the path before `/v2/` as clients see it."""

    registry: Registry
    policy: Policy
    limits: Limits
    manifest_memory: ManifestMemory
    prefix: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was understood and allowed; `reference` is the last part of its path, unchecked."""

    request: Request
    services: Services
    name: RepositoryName | None
    reference: str
    principal: str

    @property
    def repository(self) -> Repository:
        """The repository asked for."""
        if self.name is None:
            raise AssertionError("this endpoint has no repository")
        return self.services.registry.repository(self.name, self.principal)

    @property
    def query(self) -> QueryParams:
        """The query parameters; those that we do not know are ignored everywhere."""
        return self.request.query_params

    @property
    def body(self) -> RequestBody:
        """The request's body; to be asked for once."""
        return RequestBody(self.request)

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.method

    def may(self, action: Action, name: RepositoryName) -> bool:
        """Whether the rules grant the caller an action on any repository."""
        return self.services.policy.allows(action, name).allowed

    def path(self, rest: str) -> str:
        """A link below `/v2/`, relative to the host that the client used."""
        return f"{self.services.prefix}/v2/{rest}"

    def blob_path(self, digest: Digest) -> str:
        """Where a blob of the repository can be pulled."""
        return self.path(f"{self.name}/blobs/{digest}")

    def manifest_path(self, reference: object) -> str:
        """Where a manifest of the repository can be pulled."""
        return self.path(f"{self.name}/manifests/{reference}")

    def is_held(self, digest: Digest) -> bool:
        """Whether the client says that it holds this content already (RFC 9110: If-None-Match)."""
        held = ",".join(self.request.headers.getlist("if-none-match"))
        tokens = re.findall(r'(?:W/)?"([^"]*)"|([^\s,"]+)', held)
        return any(str(digest) in pair or "*" in pair for pair in tokens)


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """An answer without a body."""
    response = Response(status_code=status, headers=dict(headers))
    if status in (204, 304) and "content-length" in response.headers:
        del response.headers["content-length"]
    return response
