"""What one server holds for the workloads that read, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.bench.connection import Connection
from tests.bench.content import Content, config, digest_of, manifest, shuffled, small_blobs
from tests.bench.pushing import push_containerd, push_docker, push_manifest

REPOSITORY = "bench/shelf"
LAYERS = 2


@dataclass(slots=True)
class Shelf:
    """One server's content; `manifests` are pairs of tag and digest, `large` the blob pushed last."""

    host_port: str
    connection: Connection
    content: Content
    manifests: list[tuple[str, str]] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    large: str = ""

    def fill(self, tags: int) -> None:
        """Push a large blob, that many manifests, each with a tag, and a small blob for every ten of them."""
        blob, self.large = self.content.blob()
        push_containerd(self.connection, REPOSITORY, blob, self.large)
        layers = small_blobs(max(LAYERS, tags // 10))
        shared = config()
        for one in (shared, *layers):
            push_docker(self.connection, REPOSITORY, one, digest_of(one))
        self.small = [digest_of(layer) for layer in layers]
        for number, chosen in enumerate(shuffled(layers, LAYERS, tags)):
            tag = f"t{number}"
            digest = push_manifest(self.connection, REPOSITORY, manifest((shared, *chosen)), tag)
            self.manifests.append((tag, digest))
