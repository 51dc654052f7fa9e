"""What the end-to-end tests share: scratch folders, programs that may be missing, registries behind a tap."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.api.server import Server
from tests.e2e import images
from tests.e2e.containerd import ctr
from tests.e2e.containers import containers, newer_containers
from tests.e2e.distribution import Distribution
from tests.e2e.docker import docker, docker26
from tests.e2e.mounts import MountSpace
from tests.e2e.registries import Registry
from tests.e2e.tap import Tap
from tests.e2e.wire import Wire
from tests.equipment import catalogue
from tests.equipment.absence import require, summary, unavailable
from tests.equipment.catalogue import Missing

# Fixtures that live beside what they start.
__all__ = ["containers", "ctr", "docker", "docker26", "newer_containers"]

# A suite is no test file, but its assertions should explain themselves as well.
pytest.register_assert_rewrite("tests.e2e.docker_suite")

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of this folder."""
    config.addinivalue_line(
        "markers", "other_client: a client that the matrices of other features leave to `make soak`"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here as end to end."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Just before the closing line, name each thing that was missing."""
    yield
    stats = terminalreporter.stats
    if lines := summary([*stats.get("skipped", []), *stats.get("error", []), *stats.get("failed", [])]):
        terminalreporter.section("could not be had")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder outside the checkout whose path is short enough for the sockets of daemons."""
    path = Path(tempfile.mkdtemp(prefix="mrg", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def scratch(session_folder: Path) -> Path:
    """A folder of one test's own."""
    return Path(tempfile.mkdtemp(dir=session_folder))


@pytest.fixture(scope="session")
def space(session_folder: Path) -> Iterator[MountSpace]:
    """A private mount namespace on this machine's own root."""
    try:
        space = MountSpace(session_folder)
    except Missing as problem:
        unavailable(problem)
    yield space
    space.close()


@pytest.fixture(scope="session")
def debian13(session_folder: Path) -> Iterator[MountSpace]:
    """The Debian 13 root with its newer clients, in a mount namespace of its own."""
    folder = Path(tempfile.mkdtemp(prefix="d13", dir=session_folder))
    try:
        space = MountSpace(folder, catalogue.folder(catalogue.load()["debian13"]))
    except Missing as problem:
        unavailable(problem)
    yield space
    space.close()


@pytest.fixture(scope="session")
def new_image() -> images.NewImage:
    """Makes images around this machine's busybox."""
    return partial(images.image, require("busybox"))


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{request.path.stem.removeprefix('test_').replace('_', '-')}/{words}-{os.urandom(4).hex()}"


@pytest.fixture(scope="session")
def distribution(session_folder: Path) -> Iterator[Callable[..., Distribution]]:
    """Starts CNCF Distribution, version 2 or 3, on a directory: `distribution(3, root)`."""
    started: list[Distribution] = []

    def start(version: int, root: Path, *, delete: bool = True) -> Distribution:
        tool = {2: "docker-registry", 3: "distribution"}[version]
        started.append(Distribution(require(tool), session_folder, root, delete=delete))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def registry(distribution: Callable[..., Distribution], session_folder: Path) -> Iterator[Registry]:
    """The registry that the client tests share, behind a tap; each test has a repository of its own.

    To see whether a client behaves the same elsewhere, MOORAGE_TEST_REGISTRY names another one:
    `distribution2`, `distribution3`, or the host:port of one that runs on this machine.
    """
    root = session_folder / "registry"
    chosen = os.environ.get("MOORAGE_TEST_REGISTRY", "moorage")
    with contextlib.ExitStack() as stack:
        if chosen == "moorage":
            server = Server(root, session_folder)
            stack.callback(server.stop)
            chosen = server.registry.host_port
        elif chosen.startswith("distribution"):
            chosen = distribution(int(chosen[-1]), root).host_port
        yield Registry(stack.enter_context(Tap(chosen)), Wire(chosen))
