"""`tags/list`, `_catalog` and `referrers/<digest>` (dist-spec: Listing Tags, Listing Referrers)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from registry.api.calls import Call
from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.paging import next_link, parse_n

_TAGS_MAX = 100_000


async def tags(call: Call) -> Response:
    """All tags at once unless `n` says otherwise: many clients do not follow a Link."""
    n = parse_n(call.query.get("n"), maximum=_TAGS_MAX)
    page = await call.repository.tags(n=n, last=call.query.get("last", ""))
    headers = {}
    if page.next is not None and n is not None:
        headers["Link"] = next_link(call.path(f"{call.asked}/tags/list"), n, page.next, call.addressed)
    return _json({"name": call.asked, "tags": page.entries}, headers)


async def catalog(call: Call) -> Response:
    """The repositories that the caller may list."""
    maximum = call.services.limits.catalog_entries
    n = parse_n(call.query.get("n"), maximum=maximum)
    n = maximum if n is None else n
    registry = call.services.registry
    page = await registry.catalog(n=n, last=call.query.get("last", ""), visible=call.lists)
    headers = {}
    if page.next is not None:
        headers["Link"] = next_link(call.path("_catalog"), n, page.next)
    if not await registry.listings.catalog_is_complete():
        headers["Warning"] = '299 - "the catalog is being built and may lack repositories"'
    return _json({"repositories": page.entries}, headers)


async def referrers(call: Call) -> Response:
    """What refers to a digest: never a 404, whether or not the registry has ever seen it."""
    subject = Digest.parse(call.reference)
    # A raw `+` in a query means a space, and media types are full of them.
    types = [asked.replace(" ", "+") for asked in call.query.getlist("artifactType") if asked]
    page = await call.repository.referrers(subject, artifact_types=types, after=call.query.get("last", ""))
    headers = {"OCI-Filters-Applied": "artifactType"} if types else {}
    if page.next is not None:
        extra = [*(("artifactType", asked) for asked in types), *call.addressed]
        path = call.path(f"{call.asked}/referrers/{subject}")
        headers["Link"] = next_link(path, None, page.next, extra)
    body = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{",".join(page.entries)}]}}'
    return _answer(body.encode(), OCI_INDEX, headers)


def _json(document: object, headers: Mapping[str, str]) -> Response:
    return _answer(json.dumps(document, separators=(",", ":")).encode(), "application/json", headers)


def _answer(body: bytes, content_type: str, headers: Mapping[str, str]) -> Response:
    return Response(body, headers={**headers, "Content-Type": content_type})
