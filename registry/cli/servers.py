"""A server, asked through its operations API."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from registry import __version__
from registry.cli.credentials import Credentials
from registry.cli.exits import Answered, ServerFailed, exit_of
from registry.errors import ManifestInvalid, NotFoundHere
from registry.logs import redacted
from registry.model.documents import read_document
from registry.settings.hosts import is_loopback

CONNECT_SECONDS = 10.0
# A server of ours says something every quarter of a minute, however long an operation takes.
PATIENCE_SECONDS = 60.0
_MOST_BYTES = 256 << 20  # of one line
_LINES = "application/x-ndjson"
_KINDS = ("application/json", _LINES)


@dataclass(frozen=True, slots=True)
class ServerURL:
    """Where a server is; `port` None is the usual one, `path` what stands before `/api/v1`."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> ServerURL:
        """Read it as people write it. Raises ValueError."""
        if "://" not in text:
            likely = "http" if cls.parse(f"http://{text}").is_private else "https"
            raise ValueError(f"write it with its scheme: {likely}://{text}")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{error}") from None
        if "@" in parts.netloc:
            raise ValueError("a password does not belong there; set MOORAGE_USERNAME and MOORAGE_PASSWORD")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be http:// or https://, a host, and a port or path if need be")
        if not (text.isascii() and text.isprintable()) or " " in text or port == 0:
            raise ValueError("has a character in it, or a port, that no address has")
        if any(not 0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
            raise ValueError(f"{parts.hostname} is no host")
        usual = {"http": 80, "https": 443}[parts.scheme]
        return cls(parts.scheme, parts.hostname, None if port == usual else port, parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{self.path}"

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.scheme == "https" or is_loopback(self.host)


class Server:
    """One Moorage elsewhere."""

    def __init__(
        self, url: ServerURL, credentials: Credentials, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.url = url
        self._credentials = credentials
        self._patience = patience_seconds

    def ask(self, path: str, document: Mapping[str, object], *, changes: bool) -> Iterator[dict[str, Any]]:
        """What the server says of an operation as it says it: progress, and the result last.

        Raises ServerFailed, and Answered for errors; `changes` says whether the operation may have been done
        though no result has come.
        """
        connection = self._connection()
        patience = CONNECT_SECONDS
        try:
            connection.connect()
            patience = self._patience
            connection.sock.settimeout(patience)
            connection.request(
                "POST", f"{self.url.path}/api/v1/{path}", json.dumps(document).encode(), self._headers()
            )
            with connection.getresponse() as answer:
                yield from self._documents(answer)
        except (OSError, http.client.HTTPException) as error:
            asked = connection.sock is not None
            undecided = ". Whether it was done is not known: look" if changes and asked else ""
            raise ServerFailed(f"{self._told(error, patience)}{undecided}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.url.scheme == "http":
            return http.client.HTTPConnection(self.url.host, self.url.port, timeout=CONNECT_SECONDS)
        # Trusts what the machine trusts, or what SSL_CERT_FILE names.
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self.url.host, self.url.port, timeout=CONNECT_SECONDS, context=context
        )

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": _LINES,
            "Content-Type": "application/json",
            "User-Agent": f"moorage/{__version__}",
            # There is one question.
            "Connection": "close",
        }
        if (header := self._credentials.header) is not None:
            headers["Authorization"] = header
        return headers

    def _documents(self, answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        if 300 <= answer.status < 400:
            place = redacted(str(answer.headers.get("Location", "elsewhere")))[:200]
            raise ServerFailed(f"{self.url} leads to {place!a}; name the server itself with --server")
        kind = answer.headers.get_content_type()
        if kind not in _KINDS:
            raise self._stranger(f"it answers {answer.status} with {kind[:60]!a}")
        while line := answer.readline(_MOST_BYTES):
            if not line.endswith(b"\n") and kind == _LINES:
                break
            if not line.strip():
                continue
            try:
                document = read_document(line, "its answer")
            except ManifestInvalid as error:
                raise self._stranger(error.message) from None
            if "errors" in document:
                raise self._answered(answer.status, document)
            yield document
            if "result" in document:
                return
        raise http.client.IncompleteRead(b"")

    def _answered(self, status: int, document: Mapping[str, Any]) -> Answered:
        errors = document["errors"]
        if not isinstance(errors, list) or not all(isinstance(one, dict) for one in errors) or not errors:
            raise self._stranger("its errors are not those of a registry")
        first = errors[0]
        code, detail = str(first.get("code", "")), first.get("detail")
        messages = [str(one.get("message", "")) for one in errors]
        # With 403 it is known who asks, or nobody is known there: to log in would not help.
        if status == 401 and self._credentials.advice:
            messages[-1] += f" ({self._credentials.advice})"
        if code == NotFoundHere.code and isinstance(detail, dict) and "path" in detail:
            raise self._stranger("it has no such operation; it may be of another version")
        return Answered("\n  ".join(messages), exit_of(code, document.get("status")))

    def _stranger(self, why: str) -> ServerFailed:
        return ServerFailed(f"what answers at {self.url} is no Moorage that does this: {why}")

    def _told(self, error: Exception, patience: float) -> str:
        match error:
            case ssl.SSLCertVerificationError():
                return (
                    f"the certificate of {self.url} is not trusted: {error.verify_message}; if it is one of"
                    " your own, name what signed it in SSL_CERT_FILE"
                )
            case ssl.SSLError():
                return f"{self.url} does not speak TLS as it should: {error.reason or error}"
            case TimeoutError():
                return f"{self.url} has said nothing for {patience:g} s"
            case ConnectionRefusedError():
                return f"nothing listens at {self.url}"
            case socket.gaierror():
                return f"there is no host {self.url.host}: {error.strerror}"
            case http.client.IncompleteRead() | http.client.RemoteDisconnected() | ConnectionError():
                return f"{self.url} broke off before its answer was whole"
            case http.client.HTTPException():
                return f"what answers at {self.url} does not speak HTTP as it should"
            case _:
                return f"{self.url} cannot be reached: {getattr(error, 'strerror', None) or error}"
