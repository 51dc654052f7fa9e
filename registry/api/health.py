"""Health and metrics: `/livez`, `/readyz` and `/metrics`, as Kubernetes and Prometheus ask for them."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.api.errors import render
from registry.errors import NotFoundHere, RegistryError, Unsupported
from registry.metrics import Metrics


class Readiness:
    """Whether this process should get requests: not while it drains, nor after 30 s of failing storage."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        *,
        patience_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._patience = patience_seconds
        self._clock = clock
        self._failing_since: float | None = None
        self._asked_at: float | None = None  # of a probe that is under way
        self._why = ""
        self.draining = False

    async def watch(self) -> None:
        """Try the storage once, and remember since when it has failed.

        While this waits for an answer, that counts as a failure: storage that hangs gives none.
        """
        self._asked_at = asked_at = self._clock()
        try:
            await self._probe()
        except Exception as error:  # noqa: BLE001 (whatever fails, the storage does not serve)
            self._why = str(error)
            if self._failing_since is None:
                self._failing_since = asked_at
        else:
            self._failing_since = None
        finally:
            self._asked_at = None

    def reason(self) -> str | None:
        """Why not; None when ready."""
        if self.draining:
            return "shutting down"
        if self._lasts(self._failing_since):
            return f"the storage has failed for {self._patience:.0f} s: {self._why}"
        if self._lasts(self._asked_at):
            return f"the storage has not answered for {self._patience:.0f} s"
        return None

    def _lasts(self, since: float | None) -> bool:
        return since is not None and self._clock() - since >= self._patience


class Health:
    """The ASGI application beside `/v2/`; `metrics` None means that this listener does not show them."""

    def __init__(self, readiness: Readiness, metrics: Metrics | None) -> None:
        self._readiness = readiness
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; all of them read."""
        head = scope["method"] == "HEAD"
        try:
            response = self._answer(scope["path"], scope["method"])
        except RegistryError as error:
            response = render(error, head=head)
        scope["route"] = scope["path"] if response.status_code != 404 else "none"
        await response(scope, receive, send)

    def _answer(self, path: str, method: str) -> Response:
        if path not in ("/", "/livez", "/readyz") and (path != "/metrics" or self._metrics is None):
            raise NotFoundHere(detail={"path": path})
        if method not in ("GET", "HEAD"):
            raise Unsupported(f"{path} answers GET and HEAD", headers={"Allow": "GET, HEAD"})
        if path == "/metrics":
            assert self._metrics is not None
            body, media_type = self._metrics.render()
            return Response(body, headers={"Content-Type": media_type})
        reason = self._readiness.reason() if path == "/readyz" else None
        document = {"status": "ok"} if reason is None else {"status": "unavailable", "reason": reason}
        return Response(
            json.dumps(document), status_code=200 if reason is None else 503, media_type="application/json"
        )
