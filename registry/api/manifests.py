"""`/v2/<name>/manifests/<tag or digest>` (dist-spec: Pulling manifests, Pushing manifests, Deleting)."""

from __future__ import annotations

from starlette.responses import Response

from registry.api import witness
from registry.api.calls import Call, empty
from registry.errors import ManifestTooLarge, TagsTooMany
from registry.model.digests import Digest
from registry.model.manifests import check_content_type
from registry.model.names import Tag, parse_reference


async def get(call: Call) -> Response:
    """The stored bytes under their stored type, whatever `Accept` says: never converted, never negotiated."""
    reference = parse_reference(call.reference)
    repository = call.repository
    stored = await repository.manifest(reference)
    repository.note_pull(reference, stored.digest)
    headers = {
        "Docker-Content-Digest": str(stored.digest),
        "ETag": f'"{stored.digest}"',
        "Cache-Control": "max-age=31536000, immutable" if isinstance(reference, Digest) else "no-cache",
    }
    if call.is_held(stored.digest):
        return empty(304, headers)
    if call.method == "GET":
        witness.note_pull(call, stored.digest, reference if isinstance(reference, Tag) else None)
    # Set by hand: Starlette would add a charset to types that begin with text/.
    headers["Content-Type"] = stored.media_type
    headers["Content-Length"] = str(len(stored.content))
    return Response(b"" if call.method == "HEAD" else stored.content, headers=headers)


async def put(call: Call) -> Response:
    """Store a manifest byte for byte, let its tags name it, and say under which digest."""
    call.services.registry.require_writable()
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
    for tag in tags or ([reference] if isinstance(reference, Tag) else []):
        _require_any(call, tag)
    content_type = call.request.headers.get("content-type")
    check_content_type(content_type)
    with call.services.manifest_memory.lease() as lease:
        content = await call.body.read(limits.manifest_bytes, lease, _too_large(limits.manifest_bytes))
        with witness.noting_failure(call, reference):
            pushed = await call.repository.push_manifest(reference, content, content_type, tags)
    witness.note_push(call, pushed)
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
        async with witness.deleting(call, "tag.deleted", tag=reference) as deed:
            named = await call.repository.delete_tag(reference)
            deed.complete(digest=str(named or ""))
    else:
        digest = reference.require_supported()
        async with witness.deleting(call, "manifest.deleted", digest=digest) as deed:
            witness.took_along(call, deed, await call.repository.delete_manifest(digest))
    return empty(202, {})


def _too_large(limit: int) -> ManifestTooLarge:
    return ManifestTooLarge(
        f"the manifest is larger than this registry's limit of {limit} bytes (manifests.max_size)"
    )


def _require_any(call: Call, tag: Tag) -> None:
    """Before a body is read, refuse who may do nothing to the tag, whether it is there or not."""
    refusal = call.caller.refusal("create", call.name, tag)
    if refusal is not None and not call.caller.may("overwrite", call.name, tag):
        raise refusal
