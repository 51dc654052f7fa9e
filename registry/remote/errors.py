"""Why another host did not give what was asked for."""

from __future__ import annotations


class RemoteError(Exception):
    """Another host did not answer as it should.

    The text names the host and says why, and never the query, which may hold a signature. `status` is that
    of an answer that was not 200.
    """

    def __init__(self, host: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason
        self.status = status
