"""`/v2/<name>/blobs/uploads/…` (dist-spec: Pushing blobs, Mounting a blob from another repository)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response

from registry.access.callers import scope_of
from registry.api.bodies import RequestBody
from registry.api.calls import Call, empty
from registry.core.uploads import ChunkOutOfOrder
from registry.errors import BlobUploadUnknown, DigestInvalid, NameInvalid, RegistryError, Unauthorized
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.ranges import ByteRange, parse_content_range

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


async def post(call: Call) -> Response:
    """Mount a blob, take a whole one, or begin an upload session."""
    call.services.registry.require_writable()
    query = call.query
    wanted = query.get("mount")
    if wanted:
        digest = Digest.parse(wanted)
        asked = query.get("from")
        source = _source(asked)
        if source is not None:
            _ask_for_both(call, source)
        usable = not asked or source is not None
        if usable and await call.repository.mount(
            digest, source, lambda name: call.may("pull", name), lambda name: call.may("create", name)
        ):
            return _created(call, digest)
    elif "digest" in query:
        digest = Digest.parse(query["digest"]).require_supported()
        body = call.body
        with _judged(body):
            await call.repository.push_blob(digest, body)
        return _created(call, digest)
    session = await call.repository.begin_upload(query.get("digest-algorithm", "sha256"))
    return empty(202, _progress(call, session.uuid, 0))


async def patch(call: Call) -> Response:
    """Append to an upload: a piece at its place, or a stream at the end."""
    uuid = _uuid(call)
    body = call.body
    try:
        size = await call.repository.append(uuid, body, _piece(call))
    except ChunkOutOfOrder as error:
        raise _located(call, uuid, error) from None
    try:
        body.require_whole()
    except RegistryError as error:
        # What arrived was kept.
        error.headers.update({**_progress(call, uuid, 0), "Range": f"0-{size - 1}"})
        raise
    return empty(202, _progress(call, uuid, size))


async def put(call: Call) -> Response:
    """Close an upload, with its last piece or the whole content in the body, or with none."""
    call.services.registry.require_writable()
    uuid = _uuid(call)
    asked = call.query.get("digest")
    if not asked:
        raise DigestInvalid("closing an upload takes the query parameter digest")
    digest = Digest.parse(asked).require_supported()
    body = call.body
    try:
        with _judged(body):
            await call.repository.finish_upload(uuid, digest, body, _piece(call))
    except ChunkOutOfOrder as error:
        raise _located(call, uuid, error) from None
    return _created(call, digest)


async def get(call: Call) -> Response:
    """How far an upload has come; `0--1` when it has no bytes yet, which is not one byte."""
    uuid = _uuid(call)
    size = await call.repository.upload_size(uuid)
    return empty(204, {**_progress(call, uuid, size), "Range": f"0-{size - 1}"})


async def delete(call: Call) -> Response:
    """Cancel an upload."""
    await call.repository.cancel_upload(_uuid(call))
    return empty(204, {})


@contextmanager
def _judged(body: RequestBody) -> Iterator[None]:
    """Say of a body that broke off that it did so, and not that its digest does not fit."""
    try:
        yield
    except DigestInvalid:
        body.require_whole()
        raise
    body.require_whole()


def _ask_for_both(call: Call, source: RepositoryName) -> None:
    """A token that is too small for a mount's source, which the rules would grant, is to be a larger one.

    Who may not pull from there gets an upload, whether or not there is such a repository.
    """
    refusal = call.caller.refusal("pull", source)
    if isinstance(refusal, Unauthorized) and call.caller.decide("pull", source).allowed:
        refusal.scope = f"{scope_of('create', call.name)} {refusal.scope}"
        raise refusal


def _created(call: Call, digest: Digest) -> Response:
    return empty(201, {"Location": call.blob_path(digest), "Docker-Content-Digest": str(digest)})


def _progress(call: Call, uuid: str, size: int) -> dict[str, str]:
    return {
        "Location": call.path(f"{call.name}/blobs/uploads/{uuid}"),
        # Docker's classic store reads the end of this range and refuses one below its start.
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": uuid,
    }


def _located(call: Call, uuid: str, error: ChunkOutOfOrder) -> ChunkOutOfOrder:
    """With where to go on, and from which byte, a client can recover from a 416."""
    error.headers.update({**_progress(call, uuid, 0), "Range": f"0-{error.size_bytes - 1}"})
    return error


def _uuid(call: Call) -> str:
    if not _UUID.fullmatch(call.reference):
        raise BlobUploadUnknown(detail={"name": call.name, "uuid": call.reference})
    return call.reference


def _piece(call: Call) -> ByteRange | None:
    header = call.request.headers.get("content-range")
    return parse_content_range(header) if header else None


def _source(text: str | None) -> RepositoryName | None:
    """The repository to mount from; a name that cannot be has no blob either."""
    try:
        return RepositoryName(text) if text else None
    except NameInvalid:
        return None
