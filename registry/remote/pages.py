"""Lists of another registry that come in pages (dist-spec: Listing Tags, Listing Referrers)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from registry.model import media_types
from registry.model.names import RepositoryName
from registry.remote.authorized import AuthorizedClient
from registry.remote.errors import RemoteError, UpstreamError
from registry.remote.headers import parse_next
from registry.remote.urls import origin, web_address

# More would hold up everybody else while it is read.
_PAGE_BYTES = 4 << 20
# For all pages of one list together.
_LIST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, from `host`."""

    host: str
    media_type: str
    content: bytes

    def listed(self, key: str, most: int) -> list[Any]:
        """The list under a key, of at most so many; where it is null or missing, as in Go, an empty one.

        Raises UpstreamError.
        """
        try:
            listed = json.loads(self.content).get(key) or []
        except (ValueError, RecursionError, AttributeError):
            listed = None
        if not isinstance(listed, list):
            raise UpstreamError(self.host, f"what it answered is no document with a list of {key}", "lying")
        if len(listed) > most:
            raise UpstreamError(self.host, f"it lists too many {key}", "lying")
        return listed


async def pages(
    client: AuthorizedClient, url: str, name: RepositoryName, most: int
) -> AsyncGenerator[Page, None]:
    """The pages of a list, at most so many. Raises UpstreamError."""
    clock = asyncio.get_running_loop().time
    began = clock()
    seen: set[str] = set()
    following: str | None = url
    while following is not None:
        if following in seen or len(seen) == most:
            reason = f"its list has more than {len(seen)} pages, or goes in a circle"
            raise UpstreamError(client.endpoint.host, reason, "lying")
        if clock() - began > _LIST_SECONDS:
            reason = f"its list was not whole within {_LIST_SECONDS:g} s, after {len(seen)} pages"
            raise UpstreamError(client.endpoint.host, reason, "slow")
        seen.add(following)
        async with client.ask("GET", following, name) as response:
            try:
                content = await response.read(_PAGE_BYTES)
            except RemoteError as error:
                raise UpstreamError.of(error) from error
        told = media_types.strip_parameters(response.headers.get("content-type", ""))
        yield Page(response.host, told, content)
        following = _next(response.url, response.headers.get("link", ""))


def _next(here: str, link: str) -> str | None:
    """The address of the next page, on the host of this one. Raises UpstreamError."""
    host = urlsplit(here).netloc
    try:
        told = parse_next(link)
        there = None if told is None else web_address(urljoin(here, told))
    except ValueError:
        raise UpstreamError(host, "its Link to the next page is malformed", "lying") from None
    if told is None:
        return None
    if there is None:
        raise UpstreamError(host, "its Link to the next page is no address", "lying")
    if origin(there) != origin(urlsplit(here)):
        raise UpstreamError(host, f"its Link to the next page leads to another host, {there.netloc}", "lying")
    return there._replace(fragment="").geturl()
