"""Quotas against a model: any pushes, deletes, copies and counts, in any order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ManifestUnknown, QuotaExceeded
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.upkeep.recounting import Recount
from registry.upkeep.usage import Ledger, count
from registry.upkeep.usage_reports import Count
from tests.inmemory import World, image
from tests.upkeep.gathering import no_step

NAMES = [RepositoryName(name) for name in ("a", "a/x", "a/x/deep", "a/y", "a-b", "b")]
QUOTAS = {RepositoryName("a"): 6000, RepositoryName("a/x"): 3500, RepositoryName("b"): 2000}
LAYERS = [bytes([65 + number]) * (200 * number) for number in range(1, 7)]
IMAGES = [
    image(f"{number}", layers=[LAYERS[at] for at in layers])
    for number, layers in enumerate([(0,), (0, 1), (1, 2), (3,), (0, 3), (4,), (5,), (2, 5)])
]


@dataclass(frozen=True)
class Push:
    """An image, with its blobs, and a tag of its own."""

    name: RepositoryName
    image: int


@dataclass(frozen=True)
class Delete:
    """The manifest with its tag; its blobs stay linked."""

    name: RepositoryName
    image: int


@dataclass(frozen=True)
class Copy:
    """By a tag, from one repository to another."""

    source: RepositoryName
    name: RepositoryName
    image: int


@dataclass(frozen=True)
class Recounted:
    """All is counted."""


names, numbers = st.sampled_from(NAMES), st.integers(0, len(IMAGES) - 1)
ACTS = st.lists(
    st.one_of(
        st.builds(Push, names, numbers),
        st.builds(Push, names, numbers),
        st.builds(Delete, names, numbers),
        st.builds(Copy, names, names, numbers),
        st.builds(Recounted),
    ),
    max_size=25,
)


class Model:
    """What a prefix holds, and what counts for it, as sets."""

    def __init__(self) -> None:
        self.visible: dict[RepositoryName, set[int]] = {name: set() for name in NAMES}
        self.counts: dict[RepositoryName, set[bytes]] = {prefix: set() for prefix in QUOTAS}

    def push(self, name: RepositoryName, number: int) -> bool:
        """Whether it fits; then it counts, in each prefix."""
        tree = contents([number])
        above = [prefix for prefix in QUOTAS if is_below(name, prefix)]
        for prefix in above:
            new = tree - self.counts[prefix]
            if new and size(self.counts[prefix] | new) > QUOTAS[prefix]:
                return False
        for prefix in above:
            self.counts[prefix] |= tree
        self.visible[name].add(number)
        return True

    def count(self) -> None:
        """What is visible counts, and nothing else."""
        for prefix in QUOTAS:
            self.counts[prefix] = contents(
                number for name in NAMES if is_below(name, prefix) for number in self.visible[name]
            )


def contents(images: Iterable[int]) -> set[bytes]:
    """What images are made of."""
    found: set[bytes] = set()
    for number in images:
        found |= {IMAGES[number], b"{}"}
        found |= {layer for layer in LAYERS if str(Digest.of(layer)).encode() in IMAGES[number]}
    return found


def size(content: Iterable[bytes]) -> int:
    return sum(map(len, content))


def is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}/")


async def recount(world: World) -> None:
    """As whoever holds the lease does."""
    made = Recount(world.store, QUOTAS)
    await made.begin(world.clock.now.timestamp())
    ledger = Ledger(made.prefixes)
    async for _ in count(world.store, ledger, Count(world.clock.now, "tester"), no_step):
        pass
    await made.end(ledger)


async def blobs_of(world: World, name: RepositoryName, number: int) -> None:
    """Have the repository hold the blobs, whatever the quotas say of new ones."""
    unlimited = World(quotas={})
    unlimited.store, unlimited.driver = world.store, world.driver
    unlimited.registry = unlimited.process()
    for blob in contents([number]) - {IMAGES[number]}:
        await unlimited.blob(blob, name)


@given(ACTS)
@settings(max_examples=150, deadline=None)
async def test_a_registry_does_what_the_model_does(acts: list[Any]) -> None:
    world, model = World(quotas=QUOTAS), Model()
    for act in acts:
        match act:
            case Push(name, number):
                await blobs_of(world, name, number)
                try:
                    await world.push_alone(IMAGES[number], Tag(f"t{number}"), name)
                    pushed = True
                except QuotaExceeded:
                    pushed = False
                assert pushed == model.push(name, number)
            case Delete(name, number):
                try:
                    await world.repository(name).delete_manifest(Digest.of(IMAGES[number]))
                except ManifestUnknown:
                    assert number not in model.visible[name]
                model.visible[name].discard(number)
            case Copy(source, name, number):
                here = world.repository(source)
                tag = Tag(f"t{number}")
                try:
                    await world.repository(name).copy(tag, here, tag, put_back=True, referrers=True)
                    copied = True
                except QuotaExceeded:
                    copied = False
                except ManifestUnknown:
                    assert number not in model.visible[source]
                    continue
                assert copied == model.push(name, number)
            case Recounted():
                await recount(world)
                model.count()
        for prefix, counts in model.counts.items():
            assert (await world.registry.quotas.exactly(prefix)).used_bytes == size(counts)
    for name in NAMES:
        shown = [int(tag[1:]) for tag in await world.store.links.tags(name)]
        assert set(shown) == model.visible[name]
