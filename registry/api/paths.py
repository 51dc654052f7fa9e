"""Which endpoint a path names, read from its end, since repository names may hold our own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

TOKEN_PATH = "/auth/token"  # noqa: S105 (a path)
JWKS_PATH = "/auth/jwks.json"


class Endpoint(Enum):
    """The endpoints under `/v2/`; the value is the route's name in logs and metrics."""

    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint with the unchecked parts of its path: repository name and last segment."""

    endpoint: Endpoint
    name: str = ""
    reference: str = ""


_BASE = Target(Endpoint.BASE)
_CATALOG = Target(Endpoint.CATALOG)


def parse(path: str) -> Target | None:
    """The target of a percent-decoded path under `/v2`; None when no endpoint has it."""
    if path in ("/v2/", "/v2"):
        return _BASE
    if path in ("/v2/_catalog", "/v2/_catalog/"):
        return _CATALOG
    segments = path.split("/")[2:]
    if len(segments) < 3:
        return None
    *name, kind, last = segments
    if kind == "manifests":
        return Target(Endpoint.MANIFEST, "/".join(name), last)
    if kind == "blobs":
        if last == "uploads":
            return Target(Endpoint.UPLOADS, "/".join(name))
        return Target(Endpoint.BLOB, "/".join(name), last)
    if kind == "uploads" and len(name) >= 2 and name[-1] == "blobs":
        if not last:
            return Target(Endpoint.UPLOADS, "/".join(name[:-1]))
        return Target(Endpoint.UPLOAD, "/".join(name[:-1]), last)
    if kind == "tags" and last == "list":
        return Target(Endpoint.TAGS, "/".join(name))
    if kind == "referrers":
        return Target(Endpoint.REFERRERS, "/".join(name), last)
    return None
