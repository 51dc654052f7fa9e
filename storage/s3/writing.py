"""Objects as they are put, whole, with conditions that hold whatever becomes of an answer."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

from storage.errors import AlreadyExists, NotFound
from storage.s3.answers import CHECKSUM, crc32, size_of
from storage.s3.direct import Direct, Request
from storage.s3.errors import Doubtful
from storage.s3.options import S3Options
from storage.s3.turns import Attempts, attempted

_HEADERS = {
    "ContentType": "Content-Type",
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


def properties(options: S3Options) -> dict[str, str]:
    """What every new object is made with, as boto3 calls it; Distribution's driver stores the same type."""
    made = {
        "ContentType": "application/octet-stream",
        "StorageClass": options.storage_class,
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key_id,
    }
    return {name: value for name, value in made.items() if value is not None}


def headers_of(made: Mapping[str, str]) -> dict[str, str]:
    """The properties as a request says them."""
    return {_HEADERS[name]: value for name, value in made.items()}


async def put(direct: Direct, key: str, data: bytes | bytearray, *, if_absent: bool) -> None:
    """Put an object in one request. Raises AlreadyExists."""
    request = putting(direct.options, key, data, if_absent=if_absent)
    if not if_absent:
        await direct.ask(request)
        return
    attempts = Attempts(direct.options)
    while True:
        try:
            await direct.once(request)
            return
        except (AlreadyExists, Doubtful) as error:
            # What lies there may be ours: put by an attempt whose answer was lost, or equal from the start.
            same = await lies_there(direct, key, len(data), hashlib.sha256(data).digest())
            if same:
                return
            if same is False:
                raise AlreadyExists(key) from error
            # Nothing: it has been removed since, or the attempt did not get through. It is the same put that
            # is made again, so it does no harm if the first one comes late.
            await attempts.another(error)


def putting(options: S3Options, key: str, data: bytes | bytearray, *, if_absent: bool) -> Request:
    """The request for an object (S3: PutObject)."""
    headers = headers_of(properties(options))
    if options.checksums == "when_supported":
        headers |= {"x-amz-sdk-checksum-algorithm": "CRC32", CHECKSUM: crc32(zlib.crc32(data))}
    if if_absent:
        headers["If-None-Match"] = "*"
    return Request("PUT", key, headers=headers, body=data)


async def lies_there(direct: Direct, key: str, size: int, digest: bytes) -> bool | None:
    """Whether an object of that size and SHA-256 lies under a key; None when nothing does."""

    async def look() -> bool:
        async with direct.opened(Request("GET", key)) as response:
            if size_of(key, response.headers) != size:
                return False
            hasher = hashlib.sha256()
            async for piece in response.content.iter_any():
                hasher.update(piece)
            return hasher.digest() == digest

    try:
        return await attempted(direct.options, look)
    except NotFound:
        return None
