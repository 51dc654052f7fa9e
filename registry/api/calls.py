"""One request on its way through the API: who asks, for what, and what answers are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from registry.access.audit import Audit
from registry.access.callers import Caller
from registry.access.gate import Gate
from registry.access.rights import Right
from registry.api.bodies import RequestBody
from registry.api.memory import AnswerMemory, ManifestMemory
from registry.api.redirects import Redirects
from registry.core.registry import Registry, Repository
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRight
from registry.server.answers import GUARD

if TYPE_CHECKING:
    from registry.mirror.mirrors import Mirrors

# On every answer under /v2/: old engines look for the first, browsers must not render what was pushed.
V2_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", **GUARD}
# On every answer of the operations API, whose content is for its client alone: it may be a key, shown once.
API_HEADERS = {**GUARD, "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the API bounds: bytes of a manifest, tags of one push, entries of a catalog page."""

    manifest_bytes: int
    tags_per_push: int
    catalog_entries: int


@dataclass(frozen=True, slots=True)
class Services:
    """What every handler may call; `prefix` is the path before `/v2/` as clients see it, `url` all of it."""

    registry: Registry
    gate: Gate
    limits: Limits
    manifest_memory: ManifestMemory
    answer_memory: AnswerMemory
    audit: Audit
    prefix: str
    url: str | None
    redirects: Redirects | None = None
    mirrors: Mirrors | None = None


@dataclass(frozen=True, slots=True)
class CallersTags:
    """What rules and token let a caller do to the tags of a repository."""

    caller: Caller
    name: RepositoryName

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """Why it may not be done to the tag: Denied or Unauthorized; None when it may be."""
        return self.caller.refusal(right, self.name, tag)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was understood and allowed; `reference` is the last part of its path, unchecked.

    `asked` is what the client calls the repository: another name where it asks as if we were another host,
    `ns` (dist-spec: Registry Proxying).
    """

    request: Request
    services: Services
    name: RepositoryName | None
    reference: str
    caller: Caller
    asked: str = ""
    ns: str | None = None

    @property
    def repository(self) -> Repository:
        """The repository asked for, as the caller may use it."""
        if self.name is None:
            raise AssertionError("this endpoint has no repository")
        by, rights = str(self.caller.principal), CallersTags(self.caller, self.name)
        if self.services.mirrors is None:
            return self.services.registry.repository(self.name, by, rights)
        return self.services.mirrors.repository(self.name, by, rights, self.warn)

    @property
    def addressed(self) -> list[tuple[str, str]]:
        """The parameters that a link needs so that it means the same repository."""
        return [] if self.ns is None else [("ns", self.ns)]

    @property
    def namespace(self) -> dict[str, str]:
        """The header that says for which other host we have answered."""
        return {} if self.ns is None else {"OCI-Namespace": self.ns}

    def warn(self, value: str) -> None:
        """Let the answer have a `Warning` header."""
        self.request.scope.setdefault("warnings", []).append(value)

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

    def may(self, right: Right, name: RepositoryName) -> bool:
        """Whether the caller may do something to any repository."""
        return self.caller.may(right, name)

    def lists(self, name: RepositoryName) -> bool:
        """Whether the caller may see that there is a repository; a token is good for the list as a whole."""
        decide = self.caller.decide
        return decide("list", name).allowed and decide("pull", name).allowed

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


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """An answer without a body."""
    response = Response(status_code=status, headers=dict(headers))
    if status in (204, 304) and "content-length" in response.headers:
        del response.headers["content-length"]
    return response
