"""What clients are told when the upstreams do not give what is not held here."""

from __future__ import annotations

import math

from registry.errors import Denied, RegistryError, TooManyRequests, Unavailable
from registry.remote.errors import UpstreamError
from storage.errors import StorageError

_RETRY_SECONDS = 10


def answer(error: UpstreamError, absent: RegistryError) -> RegistryError:
    """The error of the protocol for a failure, of the kind of `absent` where it is that."""
    told = f"it is not held here, and {error}"
    retry = {"Retry-After": str(math.ceil(error.retry_after_seconds or _RETRY_SECONDS))}
    match error.cause:
        case "absent":
            return type(absent)(told, detail=absent.detail)
        case "refusing":
            return Denied(f"{told} (there may be no such repository, or it takes another login)")
        case "limited":
            return TooManyRequests(told, headers=retry)
        case _:
            return Unavailable(told, headers=retry)


def unkept(error: RegistryError | StorageError) -> str:
    """Why what the upstreams have now is not given instead."""
    told = error.message if isinstance(error, RegistryError) else "the storage does not take it"
    return f"what the upstream has now cannot be kept here: {told}"


def warning(why: object) -> str:
    """The value of a `Warning` header (dist-spec: Warnings) that goes with what is held."""
    text = f"given from what is held here: {why}"
    plain = "".join(one if one.isascii() and one.isprintable() and one not in '"\\' else "?" for one in text)
    return f'299 - "{plain[:512]}"'
