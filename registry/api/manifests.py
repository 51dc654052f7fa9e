"""`/v2/<name>/manifests/<tag or digest>` (dist-spec: Pulling manifests, Pushing manifests, Deleting)."""

from __future__ import annotations

from starlette.responses import Response

from registry.api.calls import Call, empty
from registry.errors import TagsTooMany
from registry.model.digests import Digest
from registry.model.names import Tag, parse_reference


async def get(call: Call) -> Response:
    """The stored bytes under their stored type, whatever `Accept` says: never converted, never negotiated."""
    reference = parse_reference(call.reference)
    stored = await call.repository.manifest(reference)
    headers = {
        "Docker-Content-Digest": str(stored.digest),
        "ETag": f'"{stored.digest}"',
        "Cache-Control": "max-age=31536000, immutable" if isinstance(reference, Digest) else "no-cache",
    }
    if call.is_held(stored.digest):
        return empty(304, headers)
    # Set by hand: Starlette would add a charset to types that begin with text/.
    headers["Content-Type"] = stored.media_type
    headers["Content-Length"] = str(len(stored.content))
    return Response(b"" if call.method == "HEAD" else stored.content, headers=headers)


async def put(call: Call) -> Response:
    """Store a manifest byte for byte, let its tags name it, and say under which digest."""
    reference = parse_reference(call.reference)
    limits = call.services.limits
    tags: list[Tag] = []
    if isinstance(reference, Digest):
        reference.require_supported()
        asked = call.query.getlist("tag")
        if len(asked) > limits.tags_per_push:
            raise TagsTooMany(
                f"{len(asked)} tags in one push, and this registry takes {limits.tags_per_push} "
                "(manifests.max_tags_per_push); nothing was stored"
            )
        tags = [Tag(tag) for tag in asked]
    content_type = call.request.headers.get("content-type")
    with call.services.manifest_memory.lease() as lease:
        content = await call.body.read(limits.manifest_bytes, lease)
        pushed = await call.repository.push_manifest(reference, content, content_type, tags)
    headers = {
        "Location": call.manifest_path(pushed.digest),
        "Docker-Content-Digest": str(pushed.digest),
    }
    if pushed.subject is not None:
        headers["OCI-Subject"] = str(pushed.subject)
    if tags:
        headers["OCI-Tag"] = ", ".join(pushed.tags)
    return empty(201, headers)


async def delete(call: Call) -> Response:
    """Delete a tag alone, or a manifest with every tag that names it."""
    reference = parse_reference(call.reference)
    if isinstance(reference, Tag):
        await call.repository.delete_tag(reference)
    else:
        await call.repository.delete_manifest(reference.require_supported())
    return empty(202, {})
