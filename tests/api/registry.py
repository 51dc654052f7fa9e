"""A registry that listens somewhere, and one repository of it, as the tests talk to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from tests.api.client import Answer, Connection, Headers, ask
from tests.api.contents import Manifest, digest_of


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry at host:port."""

    host_port: str

    def ask(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """One request; see `client.ask`."""
        return ask(self.host_port, method, target, headers, body)

    def connect(self) -> Connection:
        """A connection for what no client should send."""
        return Connection(self.host_port)

    def repository(self, name: str) -> Repository:
        """One of its repositories."""
        return Repository(self, name)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry; paths are below its name."""

    registry: Registry
    name: str

    def path(self, rest: str) -> str:
        """The path of something in it."""
        return f"/v2/{self.name}/{rest}"

    def ask(
        self, method: str, rest: str, headers: Headers = (), body: bytes | Iterable[bytes] | None = None
    ) -> Answer:
        """One request; see `client.ask`."""
        return self.registry.ask(method, self.path(rest), headers, body)

    def begin(self, query: str = "") -> str:
        """Begin an upload; its location."""
        answer = self.ask("POST", f"blobs/uploads/{query}")
        assert answer.status == 202, answer
        return answer["Location"]

    def close(self, location: str, digest: str, body: bytes | Iterable[bytes] | None = None) -> Answer:
        """Close an upload."""
        return self.registry.ask("PUT", closing(location, digest), body=body)

    def push_blob(self, data: bytes, algorithm: str = "sha256") -> str:
        """Push a blob; its digest."""
        digest = digest_of(data, algorithm)
        answer = self.close(self.begin(), digest, data)
        assert answer.status == 201, answer
        return digest

    def put(
        self, manifest: Manifest, reference: str = "", query: str = "", headers: Headers | None = None
    ) -> Answer:
        """Put a manifest, by digest unless a reference is given."""
        fields = {"Content-Type": manifest.media_type} if headers is None else headers
        return self.ask("PUT", f"manifests/{reference or manifest.digest}{query}", fields, manifest.data)

    def push(self, manifest: Manifest, reference: str = "", algorithm: str = "sha256") -> Manifest:
        """Push a manifest with the blobs that it needs."""
        for blob in manifest.blobs:
            self.push_blob(blob, algorithm)
        answer = self.put(manifest, reference or digest_of(manifest.data, algorithm))
        assert answer.status == 201, answer
        return manifest

    def get(self, reference: str, headers: Headers = ()) -> Answer:
        """Get a manifest."""
        return self.ask("GET", f"manifests/{reference}", headers)

    def tags(self) -> list[str]:
        """All its tags."""
        answer = self.ask("GET", "tags/list")
        assert answer.status == 200, answer
        document = answer.json()
        assert document["name"] == self.name
        return list(document["tags"])

    def referrers(self, digest: str, query: str = "") -> list[str]:
        """The digests of what refers to a manifest."""
        answer = self.ask("GET", f"referrers/{digest}{query}")
        assert answer.status == 200, answer
        return [entry["digest"] for entry in answer.json()["manifests"]]


def closing(location: str, digest: str) -> str:
    """The target that closes an upload, its digest escaped as Go clients do."""
    place = urlsplit(location)
    query = f"{place.query}&" if place.query else ""
    return f"{place.path}?{query}digest={quote(digest, safe='')}"


def next_page(answer: Answer) -> str | None:
    """Where a `Link` leads: always a path, so that no proxy can make it wrong."""
    link = answer.get("Link")
    if link is None:
        return None
    target, _, relation = link.partition(">")
    assert relation == '; rel="next"', link
    assert target.startswith("</v2/"), link
    return target[1:]
