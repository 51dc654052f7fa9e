"""Whatever a handler raises, as the protocol's answer."""

from __future__ import annotations

import errno

from starlette.responses import Response

from registry import errors
from registry.access.errors import Unfit
from storage import errors as storage_errors


def translate(error: Exception) -> errors.RegistryError:
    """The protocol error that says what happened; what has none is an error of our own."""
    match error:
        case errors.RegistryError():
            return error
        case Unfit():
            return errors.Unavailable(
                "what the registry needs to know who is who cannot be used at the moment; its log says why",
                headers={"Retry-After": "10"},
            )
        case storage_errors.OutOfSpace():
            return errors.OutOfSpace()
        case storage_errors.Forbidden():
            return errors.ReadOnly(
                "the registry's storage refuses writes (permissions, or a read-only file system)",
                headers={"Retry-After": "60"},
            )
        case storage_errors.Withheld():
            return errors.Denied(
                "this content was purged by an administrator of this registry and may not be stored again"
            )
        case storage_errors.Unavailable():
            return errors.Unavailable(
                "the registry's storage does not answer; try again shortly", headers={"Retry-After": "5"}
            )
        case storage_errors.InvalidRange():
            return errors.RangeInvalid(headers={"Content-Range": f"bytes */{error.size}"})
        case storage_errors.TooLarge(__cause__=OSError(errno=errno.ENAMETOOLONG)):
            return errors.NameInvalid("a name is longer than the registry's storage can hold")
        case _:
            return errors.RegistryError()


def render(error: errors.RegistryError, *, head: bool) -> Response:
    """The answer for `error`; to HEAD without a body."""
    body = errors.document(error)
    headers = {**error.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    return Response(b"" if head else body, status_code=error.status, headers=headers)
