"""What an answer of S3, or none, means in terms of the storage contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from storage.errors import AlreadyExists, Forbidden, NotFound, OutOfSpace, StorageError, TooLarge, Unavailable

# RuntimeError is what botocore raises for credentials that are expired as soon as they are there.
FAILURES = (
    *(ClientError, BotoCoreError, ResponseParserError, HTTPError, aiohttp.ClientError, OSError, RuntimeError),
)
"""What a call of boto3, signing by botocore, or a request by aiohttp may raise."""

_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "InsufficientStorage"})
_TOO_LARGE = frozenset({"KeyTooLongError", "KeyTooLong", "EntityTooLarge"})
# The request came to harm on its way, or the store asks for it again (S3: error responses).
_AGAIN = frozenset(
    {
        *("RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError", "Throttling", "BadDigest"),
        *("XAmzContentSHA256Mismatch", "IncompleteBody"),
    }
)
_ABSENT = frozenset({"NoSuchKey", "NotFound", "404", "NoSuchUpload"})
_EXPIRED = "the credentials have expired; the next request uses new ones where there are any"
_HINTS = {
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestTimeTooSkewed": "this machine's clock differs too much from the store's; set it right (NTP)",
}
PLACE = "does storage.s3.endpoint lead to an S3 store, with nothing between that alters its answers?"
_ELSEWHERE = "set storage.s3.region to the bucket's, and see storage.s3.endpoint and path_style"
_SECRETS = "see storage.s3.access_key_file and secret_key_file, or the environment's credentials"
_UNREACHED = (
    *(
        EndpointConnectionError,
        ConnectTimeoutError,
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
    ),
)


class Doubtful(Unavailable):
    """Nobody knows whether the request was carried out; it may be made again."""

    def final(self) -> Unavailable:
        """What is told when it is not made again."""
        error = Unavailable(self.key, self.message)
        error.__cause__ = self.__cause__
        return error


class Told(dict[str, Any]):
    """What a store has answered about the object under `key`."""

    def __init__(self, key: str, answer: dict[str, Any]) -> None:
        super().__init__(answer)
        self._key = key

    def __missing__(self, name: str) -> NoReturn:
        raise Unavailable(self._key, f"the store answered without {name}; {PLACE}")


class Conflict(Doubtful):
    """Others were about to put the same object (S3: PutObject)."""


class BehindTheEnd(StorageError):
    """The range asked for has not one byte of the object."""


@contextmanager
def told(key: str, bucket: str) -> Iterator[None]:
    """Raises storage errors for what a request about `key` raises."""
    try:
        yield
    except FAILURES as error:
        raise _translated(error, key, bucket) from error


def _translated(error: Exception, key: str, bucket: str) -> StorageError:
    """The storage error for what a call about `key` raised; one of the whole store names no key."""
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return answered(str(said.get("Code", "")), said.get("Message") or "", status, key, bucket)
    if isinstance(
        error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | RuntimeError
    ):
        return Unavailable("", f"there are no credentials for the store ({error}); {_SECRETS}")
    if isinstance(error, SSLError | aiohttp.ClientSSLError):
        return Unavailable("", f"the store's certificate is not believed ({error}); see storage.s3.ca_file")
    if isinstance(error, _UNREACHED):
        return Doubtful(key, f"the store cannot be reached ({error}); see storage.s3.endpoint")
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return Doubtful(key, "the store did not answer in time (storage.s3.read_timeout_seconds)")
    return Doubtful(key, f"the connection to the store failed ({type(error).__name__}: {error})")


def answered(code: str, text: str, status: int, key: str, bucket: str) -> StorageError:
    """The storage error for an answer with an error's code, words and status."""
    told = f"{code} {text}".strip() + f", status {status}"
    if code == "NoSuchBucket":
        return Unavailable("", f"there is no bucket {bucket} ({told}); make it, or see storage.s3.bucket")
    if code in _ABSENT:
        return NotFound(key)
    if code in _HINTS:
        return Unavailable(key, f"{_HINTS[code]} ({told})")
    if code in _FULL or status == 507:
        return OutOfSpace(key, f"the store has no room left ({told})")
    if code in _TOO_LARGE:
        return TooLarge(key, f"the store has a smaller limit ({told})")
    if code == "ConditionalRequestConflict":
        return Conflict(key, f"others put the same ({told})")
    if status in (301, 307) or code == "AuthorizationHeaderMalformed":
        return Unavailable("", f"the bucket is elsewhere ({told}); {_ELSEWHERE}")
    if code == "400":
        # To HEAD no store says more.
        return Unavailable(key, f"the store refused without a reason ({told}); {_ELSEWHERE}, and {_SECRETS}")
    if code in _AGAIN or status in (409, 429) or (status >= 500 and status != 501):
        return Doubtful(key, f"the store failed ({told})")
    if status == 412:
        return AlreadyExists(key)
    if status == 416:
        return BehindTheEnd(key, "the range lies behind the end")
    if status == 403:
        return Forbidden(key, f"the store refused ({told}); see the rights of the credentials, or {_SECRETS}")
    return StorageError(key, f"the store cannot do what was asked ({told})")
