"""A registry as the client tests see it: behind a tap, with a direct line for looking at what it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.e2e.tap import Request, Tap
from tests.e2e.wire import Wire


@dataclass(frozen=True, slots=True)
class Registry:
    """Clients talk to `host_port`, which is the tap; the tests look through `wire`, past the tap.

    Where pulls are sent to the store, `store` is a tap before that.
    """

    tap: Tap
    wire: Wire
    store: Tap | None = None

    @property
    def host_port(self) -> str:
        return self.tap.host_port

    def reference(self, repository: str, tag: str = "1") -> str:
        """The name that a client gives to an image here; `tag` may be a digest."""
        return f"{self.host_port}/{repository}{'@' if ':' in tag else ':'}{tag}"

    @contextlib.contextmanager
    def uploading_nothing(self) -> Iterator[None]:
        """Within it, no client may send a byte of a blob."""
        with self.tap.watch() as seen:
            yield
        assert seen, "the client never came"
        uploads = [request for request in seen if is_upload(request) and request.body_bytes]
        assert not uploads, [str(request) for request in uploads]

    @contextlib.contextmanager
    def resuming(self, after_bytes: int = 8 << 20) -> Iterator[None]:
        """Within it, one answer breaks off after so many bytes, and the client must ask for the rest only."""
        bodies = self.store or self.tap
        with bodies.watch() as seen, bodies.cutting(after_bytes):
            yield
        assert bodies.cuts == 1, "no answer was long enough to break off"
        ranges = [request.headers["range"] for request in seen if "range" in request.headers]
        assert ranges, [str(request) for request in seen]
        begins = [int(value.removeprefix("bytes=").partition("-")[0]) for value in ranges]
        assert max(begins) > after_bytes // 2, ranges


def is_upload(request: Request) -> bool:
    """Whether a request belongs to the upload of a blob."""
    return "/blobs/uploads/" in request.target and request.method in ("POST", "PATCH", "PUT")
