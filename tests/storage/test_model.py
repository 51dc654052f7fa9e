"""Whatever is done in whatever order, a driver answers as a dictionary would."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.contract import Driver
from storage.errors import (
    AlreadyExists,
    InvalidKey,
    InvalidRange,
    NotFound,
    StorageError,
    TooLarge,
    Unavailable,
)
from storage.keys import parents
from storage.local import LocalDriver
from storage.memory import MemoryDriver
from tests.storage.probing import pieces, read, walked

T = TypeVar("T")

KEYS = st.sampled_from(
    ["a", "a/b", "a/b/c", "a-b", "a.b/c", "a0", "b/a", "b/a-", "b/a.x", "b/a/x", "c", "c/d/e"]
)
PREFIXES = st.sampled_from(["", "a", "a/b", "b", "b/a", "c", "c/d", "z"])
DATA = st.binary(max_size=5)


class AsADictionary(RuleBasedStateMachine):
    """Does the same to a driver and to a dictionary."""

    driver: Driver

    @initialize()
    def begin(self) -> None:
        """Both empty."""
        self.runner = asyncio.Runner()
        self.model: dict[str, bytes] = {}
        self.driver = self.make()

    def make(self) -> Driver:
        """The driver to try."""
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """In the same loop each time."""
        return self.runner.run(work)

    def expect(self, work: Coroutine[Any, Any, object], error: type[StorageError] | None) -> bool:
        """Whether it succeeded, as was foretold."""
        if error is None:
            self.run(work)
            return True
        with pytest.raises(error):
            self.run(work)
        return False

    def obstacle(self, key: str) -> type[StorageError] | None:
        """What a new object under the key would raise."""
        taken = any(parent in self.model for parent in parents(key))
        return InvalidKey if taken or any(other.startswith(f"{key}/") for other in self.model) else None

    @rule(key=KEYS, data=DATA, if_absent=st.booleans(), durable=st.booleans(), stream=st.booleans())
    def put(self, key: str, data: bytes, if_absent: bool, durable: bool, stream: bool) -> None:
        """A new object or another."""
        error = self.obstacle(key)
        if if_absent and self.model.get(key, data) != data:
            error = AlreadyExists
        work: Coroutine[Any, Any, object] = (
            self.driver.write(key, pieces(data[:2], data[2:]), if_absent=if_absent, durable=durable)
            if stream
            else self.driver.put(key, data, if_absent=if_absent, durable=durable)
        )
        if self.expect(work, error):
            self.model[key] = data

    @rule(key=KEYS, sources=st.lists(KEYS, max_size=3), more=st.integers(-1, 1))
    def compose(self, key: str, sources: list[str], more: int) -> None:
        """A join, often of what is missing, sometimes of a wrong size."""
        missing = any(source not in self.model for source in sources)
        joined = b"".join(self.model.get(source, b"") for source in sources)
        size = max(0, len(self.model.get(key, b"")) + more) if missing else len(joined) + max(0, more)
        error: type[StorageError] | None
        if missing:
            error = None if key in self.model and len(self.model[key]) == size else NotFound
        elif len(joined) != size:
            error = Unavailable
        else:
            error = None if key in self.model else self.obstacle(key)
        if self.expect(self.driver.compose(key, sources, size=size), error):
            if not missing:
                self.model[key] = joined
            for source in sources:
                if source != key:
                    self.model.pop(source, None)

    @rule(key=KEYS, source=KEYS)
    def copy(self, key: str, source: str) -> None:
        """A copy, which replaces nothing."""
        error = NotFound if source not in self.model else self.obstacle(key)
        if self.expect(self.driver.copy(key, source), error):
            self.model.setdefault(key, self.model[source])

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete(self, keys: list[str]) -> None:
        """Objects, whether there or not."""
        self.run(self.driver.delete(keys))
        for key in keys:
            self.model.pop(key, None)

    @rule(key=KEYS, limit=st.integers(0, 5))
    def get(self, key: str, limit: int) -> None:
        """A whole object and its size."""
        data = self.model.get(key)
        error = NotFound if data is None else TooLarge if len(data) > limit else None
        if self.expect(self.driver.get(key, limit=limit), error):
            assert self.run(self.driver.get(key, limit=limit)) == data
        if data is not None:
            assert self.run(self.driver.stat(key)).size_bytes == len(data)
        else:
            self.expect(self.driver.stat(key), NotFound)

    @rule(key=KEYS, start=st.integers(0, 6), end=st.none() | st.integers(0, 7))
    def open(self, key: str, start: int, end: int | None) -> None:
        """A range."""
        data = self.model.get(key)
        error = NotFound if data is None else InvalidRange if start > len(data) else None
        if self.expect(read(self.driver, key, start, end), error):
            assert data is not None
            assert self.run(read(self.driver, key, start, end)) == data[start:end]

    @rule(prefix=PREFIXES, after=st.just("") | KEYS, limit=st.none() | st.integers(0, 3))
    def children(self, prefix: str, after: str, limit: int | None) -> None:
        """Names below a prefix."""
        start = f"{prefix}/" if prefix else ""
        names = {key[len(start) :].split("/")[0] for key in self.model if key.startswith(start)}
        expected = sorted(name for name in names if name > after)[:limit]
        assert self.run(self.driver.children(prefix, after=after, limit=limit)) == expected

    @rule(prefix=PREFIXES, after=st.just("") | KEYS)
    def walk(self, prefix: str, after: str) -> None:
        """Keys below a prefix."""
        start = f"{prefix}/" if prefix else ""
        expected = sorted(key for key in self.model if key.startswith(start) and key > after)
        assert self.run(walked(self.driver, prefix, after)) == expected

    @invariant()
    def everything_is_there(self) -> None:
        """And nothing else."""
        if hasattr(self, "model"):
            assert self.run(walked(self.driver, "")) == sorted(self.model)

    def teardown(self) -> None:
        """End the loop."""
        if hasattr(self, "runner"):
            self.runner.close()


class MemoryAsADictionary(AsADictionary):
    """The memory driver."""

    def make(self) -> Driver:
        return MemoryDriver()


class LocalAsADictionary(AsADictionary):
    """The local driver."""

    def make(self) -> Driver:
        self.root = tempfile.mkdtemp()
        return LocalDriver(self.root)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            assert isinstance(self.driver, LocalDriver)
            self.run(self.driver.delete([*self.model]))
            self.run(self.driver.aclose())
            assert [*Path(self.root).iterdir()] == []
            shutil.rmtree(self.root)
        super().teardown()


TestMemory = MemoryAsADictionary.TestCase
TestMemory.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestLocal = LocalAsADictionary.TestCase
TestLocal.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
