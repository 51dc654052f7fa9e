"""What the tests of retention share: processes that run it, what they find, and what comes in between."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.upkeep.retention.judging import Pulls
from registry.upkeep.retention.reports import Retention
from registry.upkeep.retention.retaining import EVERYWHERE, Retaining
from registry.upkeep.settings import UpkeepSettings
from tests.inmemory import NAME, World, image

OTHER = RepositoryName("team/other")
SECONDS = 0.001  # how long a lease outlives the silence of its holder, by clocks that tests make tick


def process(
    world: World, *rules: dict[str, Any], pulls: Pulls | None = None, who: str = "one", **settings: Any
) -> Retaining:
    """A process that runs retention by rules about every repository, and removes all that they let go."""
    about = [{"repositories": ["**"], **rule} for rule in rules]
    retention = {"enforce": True, "max_delete_percent": 100, "rules": about, **settings}
    upkeep = UpkeepSettings.model_validate({"gc": {"requests_per_second": 0}, "retention": retention})
    known = pulls or Nothing()

    async def of(_: float) -> Pulls:
        return known

    now = itertools.count(step=0.2 * SECONDS)
    return Retaining(
        lambda: world.registry,
        upkeep,
        who=who,
        pulls=of,
        lease_seconds=SECONDS,
        clock=lambda: next(now),
    )


@dataclass
class Known:
    """Pulls as a test has them."""

    uncovered_until: date | None = None
    days: Mapping[tuple[str | None, Digest | None], date] = field(default_factory=dict)

    def of(self, name: RepositoryName, tag: Tag | None, digest: Digest | None) -> date | None:
        """As it was given."""
        assert name == NAME
        found = [self.days.get((tag, digest)), self.days.get((None, digest))]
        return max((day for day in found if day is not None), default=None)


class Nothing:
    """Nobody has ever pulled anything."""

    uncovered_until = None

    def of(self, name: RepositoryName, tag: Tag | None, digest: Digest | None) -> date | None:
        """Never."""
        return None


async def run(retaining: Retaining, repositories: RepositoryPattern = EVERYWHERE) -> Retention:
    """A whole run."""
    return [report async for report in retaining.run("tester", repositories, None)][-1]


async def rehearsed(retaining: Retaining) -> Retention:
    """What a run would do."""
    return [report async for report in retaining.rehearse("tester", EVERYWHERE, None)][-1]


async def builds(world: World, count: int = 5, name: RepositoryName = NAME) -> list[Digest]:
    """Push so many images, one a day; a day more and all of them may go."""
    digests = []
    for number in range(count):
        digests.append(await world.push(image(f"{name} {number}"), Tag(f"b{number}"), name))
        world.clock.advance(days=1)
    world.clock.advance(days=1)
    return digests


async def written(world: World, *digests: Digest) -> dict[Digest, float]:
    """Manifests, with when the repository was given them."""
    return {digest: await world.store.manifests.written_at(NAME, digest) for digest in digests}


async def tags(world: World, name: RepositoryName = NAME) -> list[str]:
    return list(await world.store.links.tags(name))


def described(content: bytes) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(Digest.of(content)),
        "size": len(content),
    }


class Watched:
    """A driver before each call of which something is done."""

    def __init__(self, world: World, look: Callable[[], Awaitable[None]]) -> None:
        self._driver = world.driver
        self._look = look

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._driver, name)
        if name not in ("get", "put", "stat", "copy", "delete", "children"):
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._look()
            return await method(*arguments, **options)

        return call


class Meanwhile:
    """Does something at the look of a number, and keeps in `done` what came of it."""

    def __init__(self, number: int, act: Callable[[], Awaitable[object]], done: list[object]) -> None:
        self._left = number
        self._act = act
        self._done = done

    async def look(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._done.append(await self._act())
