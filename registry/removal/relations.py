"""How the manifests of a repository hang together: what they list and refer to, and what nothing leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from registry.errors import ManifestUnknown, RegistryError, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName
from registry.removal.mark import Step, handfuls
from registry.store.store import Store
from storage.errors import NotFound


@dataclass(slots=True)
class ManifestFacts:
    """What is known of a manifest: when its link was `written` (s), what it lists, and what it refers to."""

    written: float
    listed: frozenset[Digest]
    subject: Digest | None


def unneeded(manifests: Mapping[Digest, ManifestFacts], roots: Collection[Digest]) -> set[Digest]:
    """The manifests that no root leads to, be it by a list of them or by what they refer to."""
    referrers: dict[Digest, list[Digest]] = {}
    for digest, facts in manifests.items():
        # What refers to something that is not here may have come before it.
        if facts.subject is not None and facts.subject in manifests:
            referrers.setdefault(facts.subject, []).append(digest)
    needed: set[Digest] = set()
    pending = [digest for digest in roots if digest in manifests]
    while pending:
        digest = pending.pop()
        if digest in needed:
            continue
        needed.add(digest)
        pending += referrers.get(digest, [])
        pending += [one for one in manifests[digest].listed if one in manifests]
    return manifests.keys() - needed


def in_order(gone: Collection[Digest], manifests: Mapping[Digest, ManifestFacts]) -> list[Digest]:
    """What goes, each behind what lists it and behind its subject: so whatever stays of it, stays whole."""
    behind: dict[Digest, list[Digest]] = {digest: [] for digest in gone}
    for digest in gone:
        for child in manifests[digest].listed:
            if child in behind:
                behind[child].append(digest)
        if (subject := manifests[digest].subject) in behind and subject is not None:
            behind[digest].append(subject)
    ordered: dict[Digest, None] = {}
    begun: set[Digest] = set()
    pending = [(digest, False) for digest in sorted(gone, reverse=True)]
    while pending:
        digest, is_ready = pending.pop()
        if is_ready:
            ordered[digest] = None
        elif digest not in begun:
            begun.add(digest)
            pending.append((digest, True))
            pending += [(one, False) for one in behind[digest]]
    return list(ordered)


def leading_to(manifests: Mapping[Digest, ManifestFacts], wanted: Collection[Digest]) -> set[Digest]:
    """Some manifests, and those that list them at any depth: who has one may have asked for its index."""
    found = set(wanted)
    for digest in reversed(in_order(manifests, manifests) if found else ()):
        if not found.isdisjoint(manifests[digest].listed):
            found.add(digest)
    return found


async def each_manifest(
    store: Store, name: RepositoryName, step: Step
) -> AsyncIterator[tuple[Digest, Manifest, ManifestFacts]]:
    """The manifests of a repository, and what is known of each.

    Raises StorageDamaged if one cannot be read.
    """
    digests = [digest async for digest in store.links.manifests(name)]
    here = frozenset(digests)
    for some in handfuls(digests):
        await step()
        read = await store.effects.together(_read(store, name, digest) for digest in some)
        for digest, one in zip(some, read, strict=True):
            if one is not None:
                manifest, written = one
                subject = None if manifest.subject is None else manifest.subject.digest
                # An index may list any number of others.
                listed = here.intersection(child.digest for child in manifest.children)
                yield digest, manifest, ManifestFacts(written, listed, subject)


async def _read(store: Store, name: RepositoryName, digest: Digest) -> tuple[Manifest, float] | None:
    try:
        manifest = await store.manifests.parsed(name, digest)
        return manifest, await store.manifests.written_at(name, digest)
    except ManifestUnknown:
        return None
    except (RegistryError, NotFound) as error:
        raise StorageDamaged(f"the manifest {digest} cannot be read: {error}") from None
