"""Pages of listings (dist-spec: Listing Tags)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

from registry.errors import PaginationInvalid
from registry.model.quoting import quoted


def parse_n(text: str | None, *, maximum: int) -> int | None:
    """How many entries a page shall have at most; None when `n` is absent or empty. More is cut to `maximum`.

    Raises PaginationInvalid.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise PaginationInvalid(f"n must be a whole number, 0 or more, not {quoted(text)}")
    digits = text.lstrip("0")
    if len(digits) > len(str(maximum)):
        return maximum
    return min(int(digits or "0"), maximum)


def next_link(path: str, n: int | None, last: str, extra: Iterable[tuple[str, str]] = ()) -> str:
    """The `Link` header (RFC 5988) that leads to the page after `last`, relative for proxies' sake."""
    page = [] if n is None else [("n", str(n))]
    query = urlencode([*page, ("last", last), *extra], quote_via=quote, safe="")
    return f'<{quote(path)}?{query}>; rel="next"'
