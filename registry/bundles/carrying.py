"""The bytes of one manifest or blob on their way from a source into a bundle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from registry.bundles.contents import Content, Key
from registry.bundles.sources import Source
from registry.bundles.statement import digest_of
from registry.errors import RegistryError, StorageDamaged
from registry.model.digests import DigestCheck
from registry.model.names import RepositoryName
from registry.store.effects import Effects


class Sink(Protocol):
    """Where the bytes of one manifest or blob go. All of it blocks."""

    def write(self, piece: bytes) -> None:
        """Append."""
        ...

    def finish(self) -> None:
        """All of them were written."""
        ...

    def close(self) -> None:
        """Let go, finished or not."""
        ...


async def carry(key: Key, content: Content, source: Source, sink: Sink, effects: Effects) -> None:
    """Write the bytes of a manifest or blob, seen to have its digest. Raises StorageDamaged."""
    digest, name = digest_of(key), RepositoryName(content.repositories[0])
    check = DigestCheck(digest)

    def take(pieces: Iterable[bytes], *, is_end: bool) -> None:
        # Read, hashed and written by the same thread, while they lie in the processor's cache.
        for piece in pieces:
            check.update(piece)
            if check.size_bytes > content.size:
                raise _gone(f"the blob {digest}", name)
            sink.write(piece)
        if is_end:
            check.finish()
            if check.size_bytes != content.size:
                raise _gone(f"the blob {digest}", name)
            sink.finish()

    try:
        if content.media_type:
            stored = await source.manifest(name, digest)
            if stored is None:
                raise _gone(f"the manifest {digest}", name)
            await effects.aside(take, [stored.content], is_end=True)
            return
        async with source.blob(name, digest) as portions:
            last: Iterable[bytes] = ()
            async for portion in portions:
                if last:
                    await effects.aside(take, last, is_end=False)
                last = portion
            await effects.aside(take, last, is_end=True)
    except RegistryError as error:
        if isinstance(error, StorageDamaged):
            raise
        raise StorageDamaged(
            f"the blob {digest} of {name} cannot be carried: {error.message}; run `moorage scrub run`, and"
            " push it again"
        ) from None
    finally:
        sink.close()


def _gone(what: str, name: RepositoryName) -> StorageDamaged:
    return StorageDamaged(f"{what} of {name} went while the bundle was written; write it again")
