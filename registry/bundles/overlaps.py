"""Bundles that state what another one has brought: who undoes that takes it from them, too."""

from __future__ import annotations

from registry.bundles.received import Received


async def approved_after(received: Received, bundle: str) -> list[str]:
    """The later bundles of a stream that are applied and have a repository of which `bundle` has moved tags.

    What they state is not kept, so whether it is one of those tags is not known.
    """
    head = await received.head(bundle)
    moved: set[str] = set()
    if await received.has_journal(bundle):
        async for some in received.journal(bundle):
            moved.update(move.repository for move in some)
    return [
        str(other)
        async for other, _, done in received.applied()
        if (other.source, other.stream) == (head.source, head.stream)
        and other.number > head.number
        and not moved.isdisjoint(done.repositories)
    ]
