"""Why another host did not give what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from registry.remote.headers import retry_after

Cause = Literal["unreachable", "barred", "slow", "failing", "limited", "refusing", "absent", "lying"]
"""What kind of trouble it is.

`unreachable`: no connection came about, or it broke. `barred`: its address, or that of a host that it sends
to, is none that may be connected to. `slow`: it took too long. `failing`: an answer that says so, or is no
HTTP. `limited`: it is asked too often. `refusing`: it does not let us. `absent`: it has no such thing.
`lying`: what it answered cannot be true, or may not be followed.
"""

# What is said of every address that is barred.
BARRED = "see egress.allow"

# For how long not to ask a registry that is asked too often and does not say until when.
_USUAL_WAIT_SECONDS = 60.0


class RemoteError(Exception):
    """Another host did not answer as it should.

    The text names the host and says why, and never the query, which may hold a signature. `status` is that
    of an answer that was not 200.
    """

    def __init__(self, host: str, reason: str, cause: Cause, status: int | None = None) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason
        self.cause: Cause = cause
        self.status = status


class UpstreamError(RemoteError):
    """Another registry did not give what was asked for; `retry_after_seconds` is when to ask again."""

    def __init__(
        self,
        host: str,
        reason: str,
        cause: Cause,
        status: int | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(host, reason, cause, status)
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, error: RemoteError) -> UpstreamError:
        """The same trouble, met while a registry was asked."""
        return error if isinstance(error, cls) else cls(error.host, error.reason, error.cause, error.status)

    def again(self, retry_after_seconds: float | None = None) -> UpstreamError:
        """The same for whoever asks later, without what it was raised in, which it would keep in memory."""
        seconds = self.retry_after_seconds if retry_after_seconds is None else retry_after_seconds
        return UpstreamError(self.host, self.reason, self.cause, self.status, retry_after_seconds=seconds)


def refusal(host: str, status: int, headers: Mapping[str, str], code: str | None = None) -> UpstreamError:
    """What a registry's answer with such a status means; `code` is that of its error document."""
    cause: Cause = "absent" if (status, code) == (400, "NAME_INVALID") else cause_of(status)
    reason = f"it answered {status}" + ("" if code is None else f" ({code})")
    after = retry_after(headers)
    if cause == "limited" and after is None:
        after = _USUAL_WAIT_SECONDS
    return UpstreamError(host, reason, cause, status, retry_after_seconds=after)


def cause_of(status: int) -> Cause:
    """What kind of trouble it is that an answer has this status."""
    if status in (401, 403):
        return "refusing"
    return "absent" if status == 404 else "limited" if status == 429 else "failing"
