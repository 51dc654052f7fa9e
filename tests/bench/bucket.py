"""A store with buckets, of which each server that is measured has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.buckets import distribution_storage, settings
from tests.e2e.versity import versity
from tests.equipment import catalogue
from tests.storage.buckets import Bucket, client_of


@dataclass(frozen=True, slots=True)
class Place:
    """One bucket; what it holds lies as files below `root`."""

    bucket: Bucket
    root: Path

    def moorage(self, folder: Path) -> dict[str, Any]:
        """Our settings; the keys lie in files of the folder."""
        return settings(self.bucket, folder)

    def distribution(self) -> dict[str, Any]:
        """CNCF Distribution's, through which bodies pass, too."""
        storage: dict[str, Any] = distribution_storage(self.bucket)["storage"]
        return {**storage, "redirect": {"disable": True}}


@dataclass(frozen=True, slots=True)
class Store:
    """versitygw, whose buckets are the directories of a folder."""

    endpoint: str
    folder: Path

    def place(self) -> Place:
        """A new bucket."""
        bucket = Bucket(client_of(self.endpoint))
        return Place(bucket, self.folder / bucket.name)


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """The store, started in a folder and ended afterwards. Raises Missing without the program."""
    program = catalogue.program(catalogue.load()["versitygw"])
    (buckets := folder / "buckets").mkdir()
    with versity(program, buckets) as endpoint:
        yield Store(endpoint, buckets)
