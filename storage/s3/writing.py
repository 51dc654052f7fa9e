"""Objects as they are put, whole, with conditions that hold whatever becomes of an answer."""

from __future__ import annotations

import hashlib
from typing import Any

from storage.errors import AlreadyExists, NotFound
from storage.s3.clients import Lane
from storage.s3.errors import Doubtful
from storage.s3.options import S3Options

_PIECE_BYTES = 1 << 20


def properties(options: S3Options) -> dict[str, str]:
    """What every new object is made with; Distribution's driver stores the same type."""
    made = {
        "ContentType": "application/octet-stream",
        "StorageClass": options.storage_class,
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key_id,
    }
    return {name: value for name, value in made.items() if value is not None}


async def put(lane: Lane, key: str, data: bytes | bytearray, *, if_absent: bool) -> None:
    """Put an object in one request. Raises AlreadyExists."""
    asked: dict[str, Any] = {"Body": data, **properties(lane.options)}
    if not if_absent:
        await lane.call("put_object", key, **asked)
        return
    asked["IfNoneMatch"] = "*"
    attempts = lane.attempts()
    while True:
        try:
            await lane.once(key, lambda: lane.ask("put_object", key, **asked))
            return
        except (AlreadyExists, Doubtful) as error:
            # What lies there may be ours: put by an attempt whose answer was lost, or equal from the start.
            same = await lies_there(lane, key, len(data), hashlib.sha256(data).digest())
            if same:
                return
            if same is False:
                raise AlreadyExists(key) from error
            # Nothing: it has been removed since, or the attempt did not get through. It is the same put that
            # is made again, so it does no harm if the first one comes late.
            await attempts.another(error)


async def lies_there(lane: Lane, key: str, size: int, digest: bytes) -> bool | None:
    """Whether an object of that size and SHA-256 lies under a key; None when nothing does."""

    def look() -> bool:
        answer = lane.ask("get_object", key)
        body = answer["Body"]
        try:
            if int(answer["ContentLength"]) != size:
                return False
            hasher = hashlib.sha256()
            while piece := body.read(_PIECE_BYTES):
                hasher.update(piece)
            return hasher.digest() == digest
        finally:
            body.close()

    try:
        return await lane.run(key, look)
    except NotFound:
        return None
