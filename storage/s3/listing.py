"""The names in a bucket, in the byte order of the contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from storage.keys import is_key, is_segment
from storage.s3.answers import Page, page_of
from storage.s3.direct import Direct, Request
from storage.s3.turns import attempted

_PAGE = 1000
# The letters of a key that sort before the slash.
_BEFORE_SLASH = frozenset("-.")


async def walk(direct: Direct, prefix: str, after: str) -> AsyncGenerator[str, None]:
    """Every key below `prefix` greater than `after`; a page of a thousand is one request."""
    start = f"{prefix}/" if prefix else ""
    while True:
        if after > start and not after.startswith(start):
            return  # behind all of them
        page = await _list(direct, start, after if after > start else "", _PAGE)
        names = [direct.options.key(one.name) for one in page.objects]
        for key in names:
            if is_key(key):
                yield key
        if not page.truncated or not names:
            return
        after = names[-1]


async def children(direct: Direct, prefix: str, after: str, limit: int | None) -> list[str]:
    """The names directly below `prefix`, in byte order; a page of a thousand is one request.

    S3 sorts a name below which something lies with its slash, so that `a-b` comes before `a/`. So when
    `limit` names are there, those that might still come between them are asked for one by one.
    """
    if limit is not None and limit <= 0:
        return []
    start = f"{prefix}/" if prefix else ""
    found: set[str] = set()
    token: str | None = None
    while True:
        count = _PAGE if limit is None else min(_PAGE, limit - len(found) + 1)
        page = await _list(direct, start, start + after if after else "", count, token, delimiter=True)
        listed = [direct.options.key(name) for name in (*(one.name for one in page.objects), *page.prefixes)]
        names = (entry.removeprefix(start).rstrip("/") for entry in listed)
        found |= {name for name in names if name > after and is_segment(name)}
        token = page.token if page.truncated else None
        if token is None:
            return sorted(found)[:limit]
        if limit is not None and len(found) >= limit and listed:
            last = max(listed).removeprefix(start)
            for name in _that_may_come(last):
                if after < name < max(sorted(found)[:limit]) and name not in found:
                    there = await _list(direct, f"{start}{name}/", "", 1)
                    found |= {name} if there.objects else set()
            return sorted(found)[:limit]


async def ask(direct: Direct, prefix: str, count: int = _PAGE, **asked: str) -> Page:
    """The first `count` objects whose keys begin so (S3: ListObjectsV2), in one request."""
    options = direct.options
    query = {"list-type": "2", "prefix": options.name(prefix), "max-keys": str(count)}
    request = Request("GET", prefix, query | {"encoding-type": "url"} | asked)

    async def once() -> Page:
        return page_of(await direct.once(request), options.bucket)

    return await attempted(options, once)


def _that_may_come(last: str) -> list[str]:
    """Names that sort before the entry `last` without their slash, and behind it with it."""
    return [last[:at] for at, letter in enumerate(last) if letter in _BEFORE_SLASH and at > 0]


async def _list(
    direct: Direct, start: str, after: str, count: int, token: str | None = None, *, delimiter: bool = False
) -> Page:
    asked: dict[str, str] = {}
    if delimiter:
        asked["delimiter"] = "/"
    if token is not None:
        asked["continuation-token"] = token
    elif after:
        asked["start-after"] = direct.options.name(after)
    return await ask(direct, start, count, **asked)
