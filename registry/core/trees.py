"""Trees: what hangs on a manifest, its config and layers and the manifests that it lists, at any depth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from registry.errors import DigestInvalid, ManifestInvalid, RegistryError, StorageDamaged, Unsupported
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest

Read = Callable[[Digest], Awaitable[StoredManifest | None]]
"""Reads a manifest, None when it is not there. Raises StorageDamaged when what is there is not sound."""

MOST = 200_000  # manifests and blobs of one tree; an intent names them all, and each is looked for


@dataclass(frozen=True, slots=True)
class Node:
    """What one manifest names: `blobs` with the bytes that each is to have, `others` all that it lists.

    `optional` are layers that may lie elsewhere. `size_bytes` is the manifest's own.
    """

    size_bytes: int
    blobs: Mapping[Digest, int]
    optional: frozenset[Digest]
    others: frozenset[Digest]


@dataclass(slots=True)
class Tree:
    """Manifests, each behind those that it lists, and what is listed and could not be read, and why.

    What is `absent` is no manifest here: it may be a blob, as in buildkit's cache indexes.
    """

    nodes: dict[Digest, Node] = field(default_factory=dict)
    unread: dict[Digest, RegistryError] = field(default_factory=dict)
    absent: set[Digest] = field(default_factory=set)
    _named: set[Digest] = field(default_factory=set)

    @property
    def blobs(self) -> set[Digest]:
        """All that is to be looked for as a blob."""
        named = (node.blobs.keys() | node.optional for node in self.nodes.values())
        return self.absent.union(*named)

    @property
    def digests(self) -> set[Digest]:
        """All that is named; what an intent has to hold on to."""
        return {one for one in (*self.nodes, *self.unread, *self.blobs) if one.supported}

    def sizes(self, manifests: Iterable[Digest]) -> dict[Digest, int]:
        """The bytes of some manifests, and those that they say that their blobs have.

        What has another digest than all data had once is left out: it may lie under that one.
        """
        sizes: dict[Digest, int] = {}
        for digest in manifests:
            node = self.nodes[digest]
            sizes |= {one: size for one, size in node.blobs.items() if one.algorithm == "sha256"}
            sizes[digest] = node.size_bytes
        return sizes

    async def grow(
        self, roots: Iterable[Digest], read: Read, effects: Effects, *, max_references: int
    ) -> None:
        """Read the roots and all below them that was not read before.

        A manifest that refers to more than a push of it may is not read. Raises what says nothing of them,
        and Unsupported when they are too many.
        """
        roots = list(roots)
        self.name(roots)
        # Not by recursion: how deep indexes are nested is for those to say who push them.
        pending: list[tuple[Digest, Node | None]] = [(root, None) for root in reversed(roots)]
        begun: set[Digest] = set()
        while pending:
            digest, node = pending.pop()
            if node is not None:
                self.nodes[digest] = node
                continue
            if digest in begun or digest in self.nodes or digest in self.unread or digest in self.absent:
                continue
            begun.add(digest)
            try:
                stored = await read(digest) if digest.supported else None
                if stored is None:
                    self.absent.add(digest)
                    continue
                manifest = await effects.aside(
                    Manifest.parse, stored.content, stored.media_type, max_references=max_references
                )
            except (DigestInvalid, ManifestInvalid, StorageDamaged) as error:
                self.unread[digest] = error
                continue
            required = {one.digest: one.size_bytes for one in manifest.required_blobs}
            children = dict.fromkeys(child.digest for child in manifest.children)
            named = frozenset(one.digest for one in manifest.references)
            self.name((*required, *children, *named))
            optional = named - required.keys() - frozenset(children)
            pending.append((digest, Node(len(stored.content), required, optional, frozenset(children))))
            pending += [(child, None) for child in reversed(children)]

    def name(self, digests: Iterable[Digest]) -> None:
        """Count what belongs to it. Raises Unsupported when that is too much."""
        self._named.update(digests)
        if len(self._named) > MOST:
            raise Unsupported(
                f"more than {MOST} manifests and blobs belong together here; take fewer at once"
            )
