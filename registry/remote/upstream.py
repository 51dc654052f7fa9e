"""Another registry, as one reads it: manifests, blobs, tags, referrers (dist-spec: Pull)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from registry.errors import DigestInvalid, ManifestInvalid, TagInvalid
from registry.model import media_types
from registry.model.descriptors import Descriptor
from registry.model.digests import Digest
from registry.model.documents import read_leniently
from registry.model.manifests import sniff_media_type
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.remote.authorized import AuthorizedClient
from registry.remote.endpoint import Endpoint
from registry.remote.errors import Cause, RemoteError, UpstreamError
from registry.remote.headers import RateLimit
from registry.remote.pages import pages

if TYPE_CHECKING:
    from registry.remote.client import Client
    from registry.remote.response import Response

__all__ = [
    "Cause",
    "Endpoint",
    "RateLimit",
    "RemoteBlob",
    "RemoteHead",
    "RemoteManifest",
    "Upstream",
    "UpstreamError",
]

# `*/*` for what has come up since; without it some registries answer 406.
_ACCEPT = {"Accept": ", ".join((*sorted(media_types.MANIFESTS), "*/*"))}
_UNTOLD = frozenset({"", media_types.JSON, media_types.OCTETS})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")
_PAGE_OF_TAGS = 1000
_MOST_PAGES_OF_TAGS = 200
_MOST_TAGS = 100_000
_MOST_REFERRERS = 10_000
_MOST_PAGES_OF_REFERRERS = 100
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest to the byte; its bytes have the digest."""

    media_type: str
    digest: Digest
    content: bytes


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """What is told of a manifest without it; the media type is empty if none is."""

    digest: Digest | None
    size_bytes: int | None
    media_type: str


class RemoteBlob:
    """A blob of `size_bytes` that comes from `start` on; nobody has looked whether it has its digest."""

    def __init__(self, response: Response, size_bytes: int, start: int, skip_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.start = start
        self._response = response
        self._skip_bytes = skip_bytes

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come, all there are. Raises UpstreamError."""
        skip = self._skip_bytes
        try:
            async for piece in self._response.chunks():
                if len(piece) > skip:
                    yield piece[skip:] if skip else piece
                skip = max(0, skip - len(piece))
        except RemoteError as error:
            raise UpstreamError.of(error) from error


class Upstream:
    """Reads another registry. Whatever goes wrong there is an UpstreamError.

    `clock` tells seconds. `head_seconds` is for each request up to the head of its answer, `stall_seconds`
    for each wait for more of it. `told` hears what it says of how much may be asked for.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float],
        head_seconds: float = 10.0,
        stall_seconds: float = 30.0,
        manifest_bytes: int = 4 << 20,
        told: Callable[[RateLimit], None] = lambda _: None,
    ) -> None:
        self._client = AuthorizedClient(
            client, endpoint, clock=clock, head_seconds=head_seconds, stall_seconds=stall_seconds, told=told
        )
        self._base = endpoint.url.rstrip("/") + "/v2"
        self._manifest_bytes = manifest_bytes

    @property
    def host(self) -> str:
        """The host, as errors name it."""
        return self._client.endpoint.host

    @property
    def rate_limit(self) -> RateLimit | None:
        """What it has told last of how much may be asked for, if anything."""
        return self._client.rate_limit

    @property
    def limited_until(self) -> float:
        """Up to when, by the clock, nothing is asked."""
        return self._client.limited_until

    async def check(self) -> None:
        """See whether it is a registry that lets us in (dist-spec: Determining Support)."""
        async with self._client.ask("GET", f"{self._base}/", None):
            return

    async def head_manifest(self, name: RepositoryName, reference: Tag | Digest) -> RemoteHead:
        """What is told of a manifest, by a HEAD."""
        async with self._ask("HEAD", name, f"manifests/{reference}", _ACCEPT) as response:
            digest = _digest(response)
            if isinstance(reference, Digest) and _contradicts(digest, reference):
                raise _lie(response, f"it says of {name}@{reference} that its digest is {digest}")
            told = media_types.strip_parameters(response.headers.get("content-type", ""))
            return RemoteHead(digest, _length(response), told)

    async def manifest(self, name: RepositoryName, reference: Tag | Digest) -> RemoteManifest:
        """A manifest: by a digest, what has it; by a tag, what has the digest that is told with it.

        Raises DigestInvalid for a digest of an algorithm that is not supported.
        """
        if isinstance(reference, Digest):
            reference.require_supported()
        async with self._ask("GET", name, f"manifests/{reference}", _ACCEPT) as response:
            try:
                content = await response.read(self._manifest_bytes)
            except RemoteError as error:
                raise UpstreamError.of(error) from error
        told = reference if isinstance(reference, Digest) else _digest(response)
        if told is None or not told.supported:
            digest = Digest.of(content)
        elif (digest := Digest.of(content, told.algorithm)) != told:
            raise _lie(response, f"its manifest {reference} of {name} has the digest {digest}, not {told}")
        return RemoteManifest(_media_type(response, content), digest, content)

    async def head_blob(self, name: RepositoryName, digest: Digest) -> int:
        """How many bytes a blob has."""
        async with self._ask("HEAD", name, f"blobs/{digest}") as response:
            return _told_length(response)

    @asynccontextmanager
    async def blob(self, name: RepositoryName, digest: Digest, start: int = 0) -> AsyncIterator[RemoteBlob]:
        """A blob from its byte `start` on; whoever takes it looks whether the bytes have the digest."""
        headers = {"Range": f"bytes={start}-"} if start else _NO_HEADERS
        statuses = (200, 206, 416) if start else (200,)
        async with self._ask("GET", name, f"blobs/{digest}", headers, statuses) as response:
            if response.status == 206:
                yield RemoteBlob(response, _ranged_size(response, start), start, 0)
                return
            size_bytes = _told_length(response) if response.status == 200 else 0
            if size_bytes < start:
                raise _lie(response, f"its blob {digest} of {name} ends before byte {start}")
            # It has not heeded the range, as it may.
            yield RemoteBlob(response, size_bytes, start, start)

    async def tags(self, name: RepositoryName) -> list[Tag]:
        """All tags of a repository, in the order of the other registry; what is no tag is left out."""
        found: dict[Tag, None] = {}
        left = _MOST_TAGS
        url = f"{self._base}/{name}/tags/list?n={_PAGE_OF_TAGS}"
        async for page in pages(self._client, url, name, _MOST_PAGES_OF_TAGS):
            listed = page.listed("tags", left)
            left -= len(listed)
            for text in listed:
                with suppress(TagInvalid, TypeError):
                    found[Tag(text)] = None
        return list(found)

    async def referrers(self, name: RepositoryName, digest: Digest) -> list[dict[str, Any]] | None:
        """The descriptors of what refers to a manifest; None when the other registry keeps no such lists."""
        found: list[dict[str, Any]] | None = None
        url = f"{self._base}/{name}/referrers/{digest}"
        try:
            async for page in pages(self._client, url, name, _MOST_PAGES_OF_REFERRERS):
                if page.media_type != media_types.OCI_INDEX:
                    if found is None:
                        # A page for people, of one that knows of no such request.
                        return None
                    reason = f"its list of referrers goes on as {quoted(page.media_type)}"
                    raise UpstreamError(page.host, reason, "lying")
                listed = page.listed("manifests", _MOST_REFERRERS - len(found or ()))
                for index, one in enumerate(listed):
                    try:
                        Descriptor.read(one, f"$.manifests[{index}]")
                    except ManifestInvalid as error:
                        reason = f"in its list of referrers {error.message}"
                        raise UpstreamError(page.host, reason, "lying") from error
                found = (found or []) + listed
        except UpstreamError as error:
            if error.cause == "absent" and found is None:
                return None
            raise
        return found

    def _ask(
        self,
        method: str,
        name: RepositoryName,
        path: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        statuses: tuple[int, ...] = (200,),
    ) -> AbstractAsyncContextManager[Response]:
        return self._client.ask(method, f"{self._base}/{name}/{path}", name, headers, statuses)


def _lie(response: Response, reason: str) -> UpstreamError:
    return UpstreamError(response.host, reason, "lying")


def _length(response: Response) -> int | None:
    told = response.headers.get("content-length", "")
    return int(told) if _LENGTH.fullmatch(told) else None


def _told_length(response: Response) -> int:
    length = _length(response)
    if length is None:
        raise _lie(response, "it does not say how long what it answers is (Content-Length)")
    return length


def _ranged_size(response: Response, start: int) -> int:
    """The size of the whole of which this is all from `start` on."""
    told = response.headers.get("content-range", "")
    found = _CONTENT_RANGE.fullmatch(told)
    if found is not None:
        first, last, size_bytes = map(int, found.groups())
        if first == start and last == size_bytes - 1 and _length(response) == size_bytes - start:
            return size_bytes
    raise _lie(response, f"asked for the bytes from {start} on it answered with {quoted(told)}")


def _digest(response: Response) -> Digest | None:
    """What the answer says that the digest is."""
    told = response.headers.get("docker-content-digest")
    try:
        return None if told is None else Digest.parse(told)
    except DigestInvalid as error:
        raise _lie(response, f"its Docker-Content-Digest is none: {error.message}") from error


def _contradicts(told: Digest | None, digest: Digest) -> bool:
    return told is not None and told.algorithm == digest.algorithm and told != digest


def _media_type(response: Response, content: bytes) -> str:
    """The type of a manifest, by the answer and by what it says itself."""
    told = media_types.strip_parameters(response.headers.get("content-type", ""))
    own = dict(read_leniently(content)).get("mediaType")
    if told in _UNTOLD:
        told = sniff_media_type(content)
    if told not in media_types.MANIFESTS:
        raise _lie(response, f"it answered with {quoted(told)}, which is no manifest that is taken here")
    if isinstance(own, str) and own != told:
        raise _lie(
            response, f"it answered with {quoted(told)}, and the manifest says that it is {quoted(own)}"
        )
    return told
