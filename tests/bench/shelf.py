"""What one server holds for the workloads, pushed when it is first asked for, and how to reach the server."""

from __future__ import annotations

import shutil
from functools import cached_property
from types import TracebackType
from typing import Self

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from tests.bench.connection import Connection
from tests.bench.content import Blob, Bulk, config, digest_of, manifest, shuffled, small_blobs
from tests.bench.contestants import Contestant
from tests.bench.pushing import push_containerd, push_docker, push_manifest

REPOSITORY = "bench/shelf"
LAYERS = 2


class Shelf:
    """One server's content: `tags` manifests, and a small blob for every ten of them."""

    def __init__(self, server: Contestant, bulk: Bulk, tags: int = 0) -> None:
        self.server = server
        self.bulk = bulk
        self.connection = self.connect()
        self._tags = tags
        self._passing: list[Blob] = []

    def connect(self, *, keep: bool = True) -> Connection:
        """Another connection to the server."""
        return Connection(self.server.host_port, keep=keep, tls=self.server.tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def reconnect(self) -> None:
        """Open the connection anew: since the last work it may have been idle for too long."""
        self.connection.close()
        self.connection.ask("GET", "/v2/", 200)

    @cached_property
    def large(self) -> Blob:
        """A large blob that stays."""
        blob = self.bulk.blob()
        push_containerd(self.connection, REPOSITORY, blob)
        return blob

    @cached_property
    def small(self) -> list[Blob]:
        """Small blobs."""
        found = small_blobs(max(LAYERS, self._tags // 10))
        for blob in found:
            push_docker(self.connection, REPOSITORY, blob)
        return found

    @cached_property
    def manifests(self) -> list[tuple[str, str]]:
        """Tag and digest of each manifest."""
        shared = config()
        push_docker(self.connection, REPOSITORY, shared)
        found = []
        for number, chosen in enumerate(shuffled(self.small, LAYERS, self._tags)):
            content = manifest((shared, *chosen))
            push_manifest(self.connection, REPOSITORY, content, f"t{number}")
            found.append((f"t{number}", digest_of(content)))
        return found

    def passing(self) -> Blob:
        """A large blob to be pushed, which `clear` takes away."""
        self._passing.append(self.bulk.blob())
        return self._passing[-1]

    def clear(self) -> None:
        """Remove what was pushed to be measured only, behind the server's back, so that no place fills up."""
        name = RepositoryName(REPOSITORY)
        for digest in (Digest.parse(blob.digest) for blob in self._passing):
            for key in (layout.blob_data(digest), layout.layer_link(name, digest)):
                shutil.rmtree((self.server.root / key).parent)
        self._passing.clear()
