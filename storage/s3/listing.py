"""The names in a bucket, in the byte order of the contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from storage.keys import is_key, is_segment
from storage.s3.clients import Lane

_PAGE = 1000
# The letters of a key that sort before the slash.
_BEFORE_SLASH = frozenset("-.")


async def walk(lane: Lane, prefix: str, after: str) -> AsyncGenerator[str, None]:
    """Every key below `prefix` greater than `after`; a page of a thousand is one request."""
    start = f"{prefix}/" if prefix else ""
    while True:
        if after > start and not after.startswith(start):
            return  # behind all of them
        page = await _list(lane, start, after if after > start else "", _PAGE)
        names = [_key(lane, entry["Key"]) for entry in page.get("Contents", ())]
        for key in names:
            if is_key(key):
                yield key
        if not page.get("IsTruncated") or not names:
            return
        after = names[-1]


async def children(lane: Lane, prefix: str, after: str, limit: int | None) -> list[str]:
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
        page = await _list(lane, start, start + after if after else "", count, token, delimiter=True)
        listed = [_key(lane, entry["Key"]) for entry in page.get("Contents", ())]
        listed += [_key(lane, entry["Prefix"]) for entry in page.get("CommonPrefixes", ())]
        names = (entry.removeprefix(start).rstrip("/") for entry in listed)
        found |= {name for name in names if name > after and is_segment(name)}
        token = page.get("NextContinuationToken") if page.get("IsTruncated") else None
        if token is None:
            return sorted(found)[:limit]
        if limit is not None and len(found) >= limit and listed:
            last = max(listed).removeprefix(start)
            for name in _that_may_come(last):
                if after < name < max(sorted(found)[:limit]) and name not in found:
                    there = await _list(lane, f"{start}{name}/", "", 1)
                    found |= {name} if there.get("Contents") else set()
            return sorted(found)[:limit]


def _that_may_come(last: str) -> list[str]:
    """Names that sort before the entry `last` without their slash, and behind it with it."""
    return [last[:at] for at, letter in enumerate(last) if letter in _BEFORE_SLASH and at > 0]


async def _list(
    lane: Lane, start: str, after: str, count: int, token: str | None = None, *, delimiter: bool = False
) -> dict[str, Any]:
    asked: dict[str, Any] = {"Prefix": lane.name(start), "MaxKeys": count}
    if delimiter:
        asked["Delimiter"] = "/"
    if token is not None:
        asked["ContinuationToken"] = token
    elif after:
        asked["StartAfter"] = lane.name(after)
    return await lane.run(start, lambda: lane.client.list_objects_v2(Bucket=lane.options.bucket, **asked))


def _key(lane: Lane, name: str) -> str:
    return name[len(lane.name("")) :]
