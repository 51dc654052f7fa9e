"""The tests' own look at a registry, by plain HTTP: what it holds, every byte checked against its digest."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.images import Image, Index

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, its body read to the end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the registry served it, found to be what its digest says."""

    digest: str
    media_type: str
    data: bytes

    @property
    def fields(self) -> dict[str, Any]:
        found = json.loads(self.data)
        assert isinstance(found, dict)
        return found

    def children(self) -> list[dict[str, Any]]:
        """The descriptors of the manifests that an index binds."""
        return list(self.fields.get("manifests", []))

    def blobs(self) -> list[dict[str, Any]]:
        """The descriptors of config and layers."""
        fields = self.fields
        return [*([fields["config"]] if "config" in fields else []), *fields.get("layers", [])]


class Wire:
    """Asks one registry at host:port; `login` are headers that go along with each request."""

    def __init__(
        self, host_port: str, login: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host_port = host_port
        self._login = dict(login or {})
        self._tls = tls

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        if self._tls is None:
            connection = http.client.HTTPConnection(self.host_port, timeout=60)
        else:
            connection = http.client.HTTPSConnection(self.host_port, timeout=60, context=self._tls)
        try:
            connection.request(method, path, body or None, {**self._login, **(headers or {})})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET") -> int:
        """Only the status of an answer."""
        return self.ask(method, path, {"Accept": ", ".join(MANIFEST_TYPES)}).status

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest by tag or digest; its bytes must have the digest that the answer names."""
        answer = self.ask(
            "GET", f"/v2/{repository}/manifests/{reference}", {"Accept": ", ".join(MANIFEST_TYPES)}
        )
        assert answer.status == 200, f"{repository}:{reference}: {answer.status} {answer.body!r}"
        digest = answer.headers["docker-content-digest"]
        check(answer.body, digest)
        if ":" in reference:
            assert digest == reference
        return Manifest(digest, answer.headers["content-type"], answer.body)

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob; its bytes must have its digest."""
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        assert answer.status == 200, f"{repository}@{digest}: {answer.status} {answer.body[:500]!r}"
        check(answer.body, digest)
        return answer.body

    def whole(self, repository: str, reference: str) -> set[str]:
        """Fetch and check everything below a manifest; the digests of all that is there, itself included."""
        top = self.manifest(repository, reference)
        found = {top.digest}
        for child in top.children():
            found |= self.whole(repository, child["digest"])
        for descriptor in top.blobs():
            assert len(self.blob(repository, descriptor["digest"])) == descriptor["size"]
            found.add(descriptor["digest"])
        return found

    def push(self, repository: str, top: Image | Index, tag: str) -> None:
        """Put an image here without any client."""
        for content in top.contents:
            if content.media_type in MANIFEST_TYPES:
                reference = tag if content is top.manifest else content.digest
                path, method = f"/v2/{repository}/manifests/{reference}", "PUT"
            else:
                begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
                assert begun.status == 202, begun
                place = urlsplit(begun.headers["location"])
                path, method = f"{place.path}?{place.query}&digest={content.digest}".replace("?&", "?"), "PUT"
            answer = self.ask(method, path, {"Content-Type": content.media_type}, content.data)
            assert answer.status == 201, answer

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository."""
        answer = self.ask("GET", f"/v2/{repository}/tags/list")
        assert answer.status == 200, answer.body
        return list(answer.json()["tags"])

    def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """The descriptors of what refers to a manifest."""
        answer = self.ask("GET", f"/v2/{repository}/referrers/{digest}")
        assert answer.status == 200, answer.body
        return list(answer.json()["manifests"])


def check(data: bytes, digest: str) -> None:
    """Fail unless the bytes have the digest."""
    algorithm, _, encoded = digest.partition(":")
    assert hashlib.new(algorithm, data).hexdigest() == encoded, f"the bytes served for {digest} are others"
