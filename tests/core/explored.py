"""What the explorations share: a registry in memory that actors see with pauses, and judges without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from registry.core.registry import Registry, Repository
from registry.core.uploads import UploadLimits
from registry.errors import Denied, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRight, TagRights
from registry.store.store import Store
from storage.memory import MemoryDriver
from tests.interleaving import Actor, Killed, MortalDriver, PausingDriver, counted_effects, run

NAME = RepositoryName("team/app")
TAG = Tag("latest")
CONFIG = b"{}"
CONFIG_DIGEST = Digest.of(CONFIG)


class Bytes:
    """A body that is there already."""

    cut_off = False

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def image(note: str, *, subject: Digest | None = None) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": str(CONFIG_DIGEST),
            "size": len(CONFIG),
        },
        "layers": [],
        "annotations": {"note": note},
    }
    if subject is not None:
        document["subject"] = {"mediaType": OCI_IMAGE, "digest": str(subject), "size": 1}
    return json.dumps(document).encode()


@dataclass(frozen=True)
class May:
    """Rights of somebody who may do only so much to tags; `but` has tags that may not even be touched so."""

    rights: Collection[TagRight]
    but: Collection[Tag] = ()

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        if right in self.rights and tag not in self.but:
            return None
        return Denied(f"no rule lets you {right} {tag}")


class World:
    """A registry in memory, seen twice: with pauses for the actors, without for preparing and judging."""

    def __init__(self) -> None:
        self.driver = MemoryDriver()
        effects = self.effects = counted_effects()
        self.paused = self._registry(Store(PausingDriver(self.driver), effects, manifest_cache_bytes=0))
        self.plain = self._registry(Store(self.driver, effects, manifest_cache_bytes=0))
        run(self.repository.push_blob(CONFIG_DIGEST, Bytes(CONFIG)))

    @property
    def repository(self) -> Repository:
        return self.plain.repository(NAME, "tester")

    @property
    def actor(self) -> Repository:
        return self.paused.repository(NAME, "tester")

    def acting(self, rights: TagRights) -> Repository:
        return self.paused.repository(NAME, "tester", rights)

    def process(self, killed_at: int | None) -> tuple[Registry, MortalDriver]:
        """A registry in a process of its own, which is killed before its call of that number."""
        driver = MortalDriver(self.driver, killed_at)
        return self._registry(Store(driver, self.effects, manifest_cache_bytes=0)), driver

    def push(self, content: bytes, *, tag: Tag = TAG) -> Digest:
        return run(self.repository.push_manifest(tag, content, OCI_IMAGE, [])).digest

    def tagged(self, tag: Tag = TAG) -> Digest | None:
        try:
            return run(self.plain.store.links.tag(NAME, tag))
        except ManifestUnknown:
            return None

    def pullable(self, reference: Tag | Digest) -> bool:
        try:
            stored = run(self.repository.manifest(reference))
        except ManifestUnknown:
            return False
        assert Digest.of(stored.content) == stored.digest
        return True

    @staticmethod
    def _registry(store: Store) -> Registry:
        return Registry(
            store,
            uploads=UploadLimits(open=100, chunks=100, in_flight=100),
            max_references=100,
            allow_missing_layers=False,
            deletes=True,
            read_only=False,
        )


async def mortal(coroutine: Actor, results: list[object]) -> None:
    """Run an actor that may be killed; keep what it answered, if it came so far."""
    with suppress(Killed):
        await outcome(coroutine, results)


async def outcome(coroutine: Actor, results: list[object]) -> None:
    """Run an actor and keep what it answered, success or the protocol's error."""
    try:
        results.append(await coroutine)
    except RegistryError as error:
        results.append(error)
