"""One server for the tests that use fresh repositories of it, and servers of their own for the others."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.api.registry import Registry, Repository
from tests.api.server import Server
from tests.folders import remove_tree

Serve = Callable[..., Server]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here: it drives a real process."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def shared_folder() -> Iterator[Path]:
    """A folder for the shared server."""
    path = Path(tempfile.mkdtemp(prefix="moorage-api-"))
    yield path
    remove_tree(path)


@pytest.fixture(scope="session")
def server(shared_folder: Path) -> Iterator[Server]:
    """The server that most tests share."""
    started = Server(shared_folder / "data", shared_folder)
    yield started
    started.stop()


@pytest.fixture
def registry(server: Server) -> Registry:
    """The shared server as its clients see it."""
    return server.registry


@pytest.fixture
def repository(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """A repository that no other test uses."""
    return registry.repository(fresh_name(request.node.originalname))


@pytest.fixture
def other(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """Another one."""
    return registry.repository(fresh_name("other"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers that end with the test: `serve()`, `serve(root, settings, wrapper)`."""
    started: list[Server] = []

    def start(
        root: Path | None = None, settings: Mapping[str, Any] | None = None, wrapper: Sequence[str] = ()
    ) -> Server:
        one = Server(root or tmp_path / "data", tmp_path, settings, wrapper)
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


def fresh_name(words: str) -> str:
    """A repository name that has never been used."""
    return f"api/{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')[:80]}-{os.urandom(4).hex()}"
