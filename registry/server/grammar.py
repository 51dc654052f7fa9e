"""What the head of a request must say of the connection, beyond what the parser sees to (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from httptools import HttpRequestParser

from registry.errors import CodingUnsupported, RegistryError, RequestInvalid, VersionUnsupported

# The headers to be noted for it, by their names in small letters.
NOTED = frozenset({b"content-length", b"expect", b"host", b"transfer-encoding"})
# Stands for the values of a header that came more than once; no host, and no coding.
TWICE = b"twice,"
# An address in brackets, or a name (RFC 3986: host) without the comma that no host has; and a port.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~%!$&'()*+;=-]*)(?::[0-9]*)?").fullmatch
_VERSIONS = ("1.1", "1.0")

Noted = Mapping[bytes, bytes]


def broken(parser: HttpRequestParser) -> RegistryError:
    """What to say of what the parser does not understand."""
    version: str = parser.get_http_version()
    # "0.0": it has not come so far.
    return RequestInvalid() if version in ("0.0", *_VERSIONS) else VersionUnsupported()


def unspoken(version: str, noted: Noted, *, switching: bool) -> RegistryError | None:
    """Why a head is refused that may ask for another protocol; None when nothing is wrong."""
    if version not in _VERSIONS:
        return VersionUnsupported()
    host = noted.get(b"host")
    if host is None:
        if version == "1.1":
            return RequestInvalid("a request of HTTP/1.1 must have the header Host")
    elif not _HOST(host):
        return RequestInvalid("the header Host must name one host, and a port if need be")
    if switching and (b"transfer-encoding" in noted or noted.get(b"content-length", b"").strip(b"0 \t")):
        return RequestInvalid("a request that asks for another protocol may have no body")
    coding = noted.get(b"transfer-encoding")
    return None if coding is None else _uncoded(version, coding)


def waits_to_be_asked(version: str, noted: Noted) -> bool:
    """Whether the client sends its body only when it is told to; HTTP/1.0 has no such thing (RFC 9110)."""
    return b"expect" in noted and noted[b"expect"].lower() == b"100-continue" and version == "1.1"


def _uncoded(version: str, coding: bytes) -> RegistryError | None:
    if version == "1.0":
        return RequestInvalid("HTTP/1.0 has no Transfer-Encoding")
    if coding.lower() == b"chunked":
        return None
    if coding is TWICE or coding.lower().endswith(b"chunked"):
        return CodingUnsupported()
    return RequestInvalid("where a body ends is known only when the last of Transfer-Encoding is chunked")
