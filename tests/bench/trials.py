"""What is not processor time: memory, slow clients and the start, each on servers that have just started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.bucket import Place, Store
from tests.bench.contestants import Contestant, Distribution, Moorage
from tests.bench.figures import Figure, Rounds
from tests.bench.scale import Scale

Tell = Callable[[str], None]
Start = Callable[..., Contestant]

SERVERS: Mapping[str, Start] = {"moorage": Moorage, "distribution": Distribution}


class Ground:
    """A directory to start servers in, and how much is to be done to them."""

    def __init__(self, folder: Path, scale: Scale, tell: Tell, store: Store | None = None) -> None:
        self.folder = folder
        self.scale = scale
        self.tell = tell
        self._store = store
        self._numbers = count()

    @contextmanager
    def server(self, name: str, **given: Any) -> Iterator[Contestant]:
        """One of `SERVERS`, in a new directory."""
        server = SERVERS[name](self.folder / f"{name}-{next(self._numbers)}", **given)
        try:
            yield server
        finally:
            server.stop()

    def bucket(self) -> Place:
        """A new bucket, where the ground has a store with buckets."""
        assert self._store is not None
        return self._store.place()

    def rounds(self, what: str, repeats: int, measure: Callable[[str], float]) -> Rounds:
        """The same measured of each server in turn, as often as that."""
        found: dict[str, list[float]] = {name: [] for name in SERVERS}
        for number in range(repeats):
            for name, values in found.items():
                values.append(measure(name))
            self.tell(f"{what}: {number + 1} of {repeats}")
        return Rounds(tuple(found["moorage"]), tuple(found["distribution"]))


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done, and the names of the figures that come of it; in one place only, or `everywhere`.

    Everywhere: where transfers of data go through the file system, which makes others wait, or not.
    """

    names: Sequence[str]
    run: Callable[[Ground], list[Figure]]
    everywhere: bool = False
