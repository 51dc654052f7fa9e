"""What other registries say in headers: challenges, links to the next page, limits of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=[\s,]|$)")
_PARAMETER = re.compile(rf"[\s,]*({_WORD})\s*=\s*(?:{_QUOTED}|([^\s,\";]+))")
# As Negotiate has it.
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_LINK = re.compile(r"[\s,]*<([^<>]*)>")
_LINK_PARAMETER = re.compile(rf"\s*;\s*({_WORD})\s*(?:=\s*(?:{_QUOTED}|([^\s,;\"]+)))?")
_ESCAPED = re.compile(r"\\(.)")
_QUOTA = re.compile(r"\s*([0-9]{1,9})\s*(?:;\s*w\s*=\s*([0-9]{1,9})\s*)?")
_LONGEST = 16 << 10
_LEAST_WAIT_SECONDS = 1.0
_MOST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Challenge:
    """How somebody may show who he is (RFC 9110: WWW-Authenticate); names are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much may be asked for in all, what of it is left, and in which time."""

    limit: int
    remaining: int
    window_seconds: int | None


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges in a header, up to what cannot be read."""
    found: list[Challenge] = []
    at = 0
    header = header[:_LONGEST]
    while (match := _SCHEME.match(header, at)) is not None:
        at = match.end()
        parameters: dict[str, str] = {}
        if (skipped := _TOKEN68.match(header, at)) is not None and _PARAMETER.match(header, at) is None:
            at = skipped.end()
        while (parameter := _PARAMETER.match(header, at)) is not None:
            parameters.setdefault(parameter[1].lower(), _value(parameter[2], parameter[3]))
            at = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
    return found


def parse_next(header: str) -> str | None:
    """Where the next page is (RFC 8288: Link); None when there is none. Raises ValueError."""
    if len(header) > _LONGEST:
        raise ValueError("it is too long")
    at = 0
    following = None
    while header[at:].strip(" \t,"):
        link = _LINK.match(header, at)
        if link is None:
            raise ValueError("it is no list of links")
        at = link.end()
        relations: set[str] = set()
        while (parameter := _LINK_PARAMETER.match(header, at)) is not None:
            at = parameter.end()
            if parameter[1].lower() == "rel":
                relations.update(_value(parameter[2], parameter[3]).lower().split())
        if "next" in relations and following is None:
            following = link[1]
    return following


def parse_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """What the headers `ratelimit-limit` and `ratelimit-remaining` tell, as Docker Hub has them."""
    limit = _QUOTA.fullmatch(headers.get("ratelimit-limit", ""))
    remaining = _QUOTA.fullmatch(headers.get("ratelimit-remaining", ""))
    if limit is None or remaining is None:
        return None
    window = limit[2] or remaining[2]
    return RateLimit(int(limit[1]), int(remaining[1]), None if window is None else int(window))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """In how many seconds to ask again, from one to an hour; None when that is not told."""
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return _bounded(float(told[:9]))
    until = _date(told)
    if until is None:
        return None
    # By its own clock, if it tells what that says.
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return _bounded((until - now).total_seconds())


def _bounded(seconds: float) -> float:
    return min(max(seconds, _LEAST_WAIT_SECONDS), _MOST_WAIT_SECONDS)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _value(quoted: str | None, plain: str | None) -> str:
    return plain or "" if quoted is None else _ESCAPED.sub(r"\1", quoted)
