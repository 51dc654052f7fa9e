"""Uploads of many parts: begun, filled, completed exactly once, and aborted when they are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from storage.errors import NotFound, TooLarge, Unavailable
from storage.s3.errors import FAILURES, Doubtful
from storage.s3.lanes import Lane
from storage.s3.turns import Attempts
from storage.s3.writing import properties

# Marks an object with the upload that it was made by, so that a lost answer can be made up for.
_MARK = "moorage-upload"
_GONE = "the upload has gone before it was completed: others have aborted it"


class PartsUpload:
    """One multipart upload; made by `begun`."""

    def __init__(self, lane: Lane, key: str) -> None:
        self._lane = lane
        self._key = key
        self._mark = uuid4().hex
        self._id = ""
        self._parts: dict[int, str] = {}

    async def begin(self) -> None:
        """Ask for the upload."""
        made = properties(self._lane.options)

        def ask() -> None:
            # Noted in the thread: whoever is cancelled meanwhile aborts it all the same.
            answer = self._lane.ask(
                "create_multipart_upload", self._key, Metadata={_MARK: self._mark}, **made
            )
            self._id = answer["UploadId"]

        await self._lane.run(self._key, ask)

    def require_number(self, number: int) -> None:
        """Raises TooLarge for a part more than there may be."""
        most = self._lane.options.most_parts
        if number > most:
            message = f"an object may have {most} parts at most; raise storage.s3.part_bytes"
            raise TooLarge(self._key, message)

    async def put_part(self, number: int, data: bytes | bytearray) -> None:
        """Send one part, from 1 on."""
        self.require_number(number)
        try:
            answer = await self._call("upload_part", PartNumber=number, Body=data)
        except NotFound as error:
            raise Unavailable(self._key, _GONE) from error
        self._parts[number] = answer["ETag"]

    async def copy_part(self, number: int, source: str, bounds: tuple[int, int] | None) -> None:
        """Have the store copy one part: of another object the bytes from and to (excluded), or all."""
        self.require_number(number)
        of = {"Bucket": self._lane.options.bucket, "Key": self._lane.options.name(source)}
        asked: dict[str, Any] = (
            {} if bounds is None else {"CopySourceRange": f"bytes={bounds[0]}-{bounds[1] - 1}"}
        )
        try:
            answer = await self._call("upload_part_copy", PartNumber=number, CopySource=of, **asked)
        except NotFound as error:
            raise NotFound(source) from error
        self._parts[number] = answer["CopyPartResult"]["ETag"]

    async def complete(self, *, if_absent: bool = False) -> None:
        """Let the object appear. Raises AlreadyExists with `if_absent`."""
        asked: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(self._parts.items())]
        attempts = Attempts(self._lane.options)
        while True:
            try:
                await self._lane.once(
                    self._key,
                    lambda: self._lane.ask(
                        "complete_multipart_upload",
                        self._key,
                        UploadId=self._id,
                        MultipartUpload={"Parts": parts},
                        **asked,
                    ),
                )
            except (Doubtful, NotFound) as error:
                if not await self._is_done():
                    if isinstance(error, NotFound):
                        raise Unavailable(self._key, _GONE) from error
                    await attempts.another(error)
                    continue
            self._id = ""
            return

    def abort(self) -> None:
        """Leave nothing of it; from a thread. What fails is found again by the sweep."""
        # Twice: the first may go out on a connection that broke with what it is aborted for.
        for _ in range(2 if self._id else 0):
            with suppress(*FAILURES):
                self.abort_told()
                return

    def abort_told(self) -> None:
        """The same, but raises what boto3 does."""
        self._lane.ask("abort_multipart_upload", self._key, UploadId=self._id)

    async def _call(self, method: str, **asked: Any) -> dict[str, Any]:
        return await self._lane.call(method, self._key, UploadId=self._id, **asked)

    async def _is_done(self) -> bool:
        """Whether what lies under the key was made by this upload."""
        try:
            answer = await self._lane.call("head_object", self._key)
        except NotFound:
            return False
        return bool(answer.get("Metadata", {}).get(_MARK) == self._mark)


@asynccontextmanager
async def begun(lane: Lane, key: str) -> AsyncIterator[PartsUpload]:
    """An upload that is aborted unless it was completed inside."""
    upload = PartsUpload(lane, key)
    try:
        await upload.begin()
        yield upload
    finally:
        await lane.threads.run_always(upload.abort)


async def sweep(lane: Lane, oldest: datetime) -> None:
    """Abort the uploads that were begun before `oldest`.

    Some stores list them by exact key only: so all of the bucket are asked for, and those of others left.
    """
    asked: dict[str, Any] = {}
    while True:
        page = await lane.run("", partial(_list, lane, asked))
        for upload in page.get("Uploads", ()):
            key = upload["Key"]
            if upload["Initiated"] < oldest and key.startswith(lane.options.name("")):
                with suppress(NotFound):
                    await lane.run(key, partial(_abort, lane, key, upload["UploadId"]))
        if not page.get("IsTruncated"):
            return
        asked = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}


def _list(lane: Lane, asked: dict[str, Any]) -> dict[str, Any]:
    page: dict[str, Any] = lane.client.list_multipart_uploads(Bucket=lane.options.bucket, **asked)
    return page


def _abort(lane: Lane, name: str, upload: str) -> None:
    lane.client.abort_multipart_upload(Bucket=lane.options.bucket, Key=name, UploadId=upload)
