"""The protocol's errors, one class a code, and the one JSON document that carries them.

Imports nothing, so that the HTTP server room and the API can send the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


class RegistryError(Exception):
    """An answer other than success, as the specification names it (dist-spec: Error Codes).

    `code` and `status` are fixed per class; `message` may be sharpened per case; `detail` must be JSON.
    """

    code: str = "UNKNOWN"
    status: int = 500
    message: str = "the registry met an error of its own; its log says more under the request id"

    def __init__(
        self,
        message: str | None = None,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
        also: Sequence[RegistryError] = (),
    ) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.detail = detail
        self.headers = dict(headers or {})
        # Further errors of the same answer: all missing references of a manifest are reported together.
        self.also = tuple(also)
        # Whether something of what was asked had been done before it.
        self.in_part = False

    def half_done(self, told: str) -> None:
        """Say that something had been done before this, so that nobody takes it for a refusal of it all."""
        self.in_part = True
        self.message = f"{self.message}; {told}"
        self.args = (self.message,)


class BlobUnknown(RegistryError):
    """The blob is not in this repository."""

    code, status, message = "BLOB_UNKNOWN", 404, "this repository has no such blob"


class BlobUploadInvalid(RegistryError):
    """The upload cannot go on as asked."""

    code, status, message = "BLOB_UPLOAD_INVALID", 400, "the upload cannot go on as asked"


class BlobUploadUnknown(RegistryError):
    """No such upload session in this repository: never begun, finished, cancelled or expired."""

    code, status = "BLOB_UPLOAD_UNKNOWN", 404
    message = "this repository has no such upload session; start again with POST"


class DigestInvalid(RegistryError):
    """The digest is malformed, of an unsupported algorithm, or not that of the content."""

    code, status, message = "DIGEST_INVALID", 400, "the digest does not fit"


class ManifestBlobUnknown(RegistryError):
    """A manifest refers to content that the repository does not have."""

    code, status = "MANIFEST_BLOB_UNKNOWN", 400
    message = "the manifest refers to content that this repository does not have; push that first"


class ManifestInvalid(RegistryError):
    """The manifest breaks its specification."""

    code, status, message = "MANIFEST_INVALID", 400, "the manifest breaks its specification"


class ManifestTooLarge(RegistryError):
    """The manifest is larger than the limit."""

    code, status, message = "MANIFEST_INVALID", 413, "the manifest is larger than this registry's limit"


class ManifestUnknown(RegistryError):
    """The repository has no such manifest or tag."""

    code, status, message = "MANIFEST_UNKNOWN", 404, "this repository has no such manifest"


class NameInvalid(RegistryError):
    """The repository name breaks the grammar."""

    code, status, message = "NAME_INVALID", 400, "the repository name breaks the grammar"


class NameUnknown(RegistryError):
    """The registry has no such repository."""

    code, status, message = "NAME_UNKNOWN", 404, "the registry has no such repository"


class TagInvalid(RegistryError):
    """The tag breaks the grammar."""

    code, status, message = "TAG_INVALID", 400, "the tag breaks the grammar"


class SizeInvalid(RegistryError):
    """The length told and the length sent differ."""

    code, status, message = "SIZE_INVALID", 400, "the length told and the bytes sent differ"


class RangeInvalid(RegistryError):
    """The piece does not follow what is stored, or the range lies outside of the content."""

    code, status, message = "RANGE_INVALID", 416, "the range does not fit what is stored"


class PaginationInvalid(RegistryError):
    """`n` is not a number of entries."""

    code, status, message = "PAGINATION_NUMBER_INVALID", 400, "n must be a whole number, 0 or more"


class Denied(RegistryError):
    """The rules do not grant it."""

    code, status, message = "DENIED", 403, "the access rules do not grant this"


class QuotaExceeded(Denied):
    """A prefix has a quota, which leaves no room for it."""

    message = "the quota of the repositories below a prefix leaves no room for this"


class Unauthorized(RegistryError):
    """Whoever asks has to log in, or has to bring a token that is good for this.

    `scope` is what a token has to be good for, `problem` what is wrong with the one that was sent, as the
    challenge says both (RFC 6750).
    """

    code, status = "UNAUTHORIZED", 401
    message = "authentication is required: log in, or ask for a token"

    def __init__(
        self,
        message: str | None = None,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
        scope: str = "",
        problem: str = "",
    ) -> None:
        super().__init__(message, detail=detail, headers=headers)
        self.scope = scope
        self.problem = problem


class Unsupported(RegistryError):
    """The registry does not do that, or has it switched off."""

    code, status, message = "UNSUPPORTED", 405, "the registry does not do that"


class NotFoundHere(RegistryError):
    """No endpoint has this path."""

    code, status, message = "NOT_FOUND", 404, "no endpoint of this registry has this path"


class RequestInvalid(RegistryError):
    """What was sent is not HTTP/1.1 as this server speaks it."""

    code, status, message = "REQUEST_INVALID", 400, "this is no HTTP/1.1 request that the server understands"


class RequestTimeout(RegistryError):
    """The head of the request took too long."""

    code, status, message = "REQUEST_INVALID", 408, "the head of the request did not arrive in time"


class HeadTooLarge(RegistryError):
    """The head of the request is too large."""

    code, status, message = "REQUEST_INVALID", 431, "the head of the request is too large"


class CodingUnsupported(RegistryError):
    """The body is encoded for its way in another form than chunks."""

    code, status = "REQUEST_INVALID", 501
    message = "of all transfer codings this server knows chunked alone"


class VersionUnsupported(RegistryError):
    """The request is of a version of HTTP that this server does not speak."""

    code, status, message = "REQUEST_INVALID", 505, "this server speaks HTTP/1.1"


class InputInvalid(RegistryError):
    """What an operation was given does not fit; there is one for each field that is wrong."""

    code, status, message = "INPUT_INVALID", 400, "the input of the operation does not fit"


class InputTooLarge(InputInvalid):
    """What an operation was given is larger than any needs."""

    code, status, message = "INPUT_INVALID", 413, "the input of the operation is too large"


class InputTypeUnsupported(InputInvalid):
    """What an operation was given is not said to be JSON."""

    code, status, message = "INPUT_INVALID", 415, "the input of an operation is application/json"


class TagsTooMany(RegistryError):
    """More tags in one push than this registry takes."""

    code, status, message = "TAG_INVALID", 414, "too many tags in one push"


class TooManyRequests(RegistryError):
    """A bound was reached; try again after the time in `Retry-After`."""

    code, status, message = "TOOMANYREQUESTS", 429, "too many at once; try again shortly"


class Unavailable(RegistryError):
    """The registry cannot do that now; try again after the time in `Retry-After`."""

    code, status, message = "UNAVAILABLE", 503, "the registry cannot do that now; try again shortly"


class ReadOnly(Unavailable):
    """Writes are switched off for now."""

    message = "the registry is read-only at the moment; pulls work, pushes will again later"


class OutOfSpace(RegistryError):
    """The store has no room for the content."""

    code, status = "UNAVAILABLE", 507
    message = "the registry's storage is full; nothing was lost, push again when there is room"


class Damaged(RegistryError):
    """Content is not what it must be, wherever it lies."""


class StorageDamaged(Damaged):
    """What the store holds is not what was pushed; nothing wrong is served."""

    code, status = "UNKNOWN", 500
    message = "the stored content is damaged and was not served; push it again to heal it"


class ManifestLost(StorageDamaged):
    """A manifest's link stands and its bytes are gone: to clients it is not there, and they push it again."""

    code, status = "MANIFEST_UNKNOWN", 404
    message = "the repository links to this manifest and its bytes are missing; push it again"


def document(error: RegistryError) -> bytes:
    """The error JSON of the specification for `error` and those it carries along."""
    return json.dumps({"errors": entries(error)}, separators=(",", ":")).encode()


def entries(error: RegistryError) -> list[dict[str, object]]:
    """What the error JSON has of `error` and those it carries along."""
    return [
        {"code": one.code, "message": one.message, **({} if one.detail is None else {"detail": one.detail})}
        for one in (error, *error.also)
    ]
