"""What the end-to-end tests share: scratch folders, programs that may be missing, registries behind a tap."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from tests.api.server import Server
from tests.e2e import images
from tests.e2e.buckets import redirects, serve
from tests.e2e.ceph import Ceph
from tests.e2e.client import Client
from tests.e2e.containerd import ctr
from tests.e2e.containers import containers, newer_containers
from tests.e2e.cosign import cosign
from tests.e2e.crowd import serve_wanted, wanted
from tests.e2e.distribution import Distribution
from tests.e2e.docker import docker, docker26
from tests.e2e.engines import ENGINE, Engine, minio
from tests.e2e.guarded import guarded
from tests.e2e.mirrors import library, mirror, upstream
from tests.e2e.mounts import MountSpace
from tests.e2e.registries import Registry
from tests.e2e.tap import Tap
from tests.e2e.versity import versity
from tests.e2e.wire import Wire
from tests.equipment import catalogue
from tests.equipment.absence import require, summary, unavailable
from tests.equipment.catalogue import Missing
from tests.folders import remove_tree
from tests.storage.buckets import Bucket, client_of

# Fixtures that live beside what they start.
__all__ = [
    "containers",
    "cosign",
    "ctr",
    "docker",
    "docker26",
    "guarded",
    "library",
    "mirror",
    "newer_containers",
    "serve_wanted",
    "upstream",
    "wanted",
]

# A suite is no test file, but its assertions should explain themselves as well.
pytest.register_assert_rewrite("tests.e2e.docker_suite")

HERE = Path(__file__).parent
REGISTRY = os.environ.get("MOORAGE_TEST_REGISTRY", "moorage")
# What is not asked of a registry that sends pulls to the store. No client is among them: all follow.
CANNOT_FOLLOW = {"test_tap.py": "is about the tap itself, with a client of our own that follows nobody"}


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of this folder."""
    config.addinivalue_line("markers", "long_build: needs what only `make soak` builds")
    config.addinivalue_line("markers", "any_registry: asks the one that MOORAGE_TEST_REGISTRY names")
    config.addinivalue_line("markers", "any_engine: on the store that MOORAGE_TEST_ENGINE names")
    config.addinivalue_line(
        "markers", "other_client: a client that the matrices of other features leave to `make soak`"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here as end to end."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if "registry" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.any_registry)
                if REGISTRY == "s3-redirect" and (reason := CANNOT_FOLLOW.get(item.path.name)):
                    item.add_marker(pytest.mark.skip(reason=f"{item.path.name} {reason}"))
            if "engine" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.any_engine)


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
    remove_tree(path)


@pytest.fixture(scope="module")
def module_folder(session_folder: Path) -> Path:
    """A folder of one module's own; another one where a worker comes back to it for a class."""
    return Path(tempfile.mkdtemp(dir=session_folder))


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
def ceph(session_folder: Path) -> Iterator[Ceph]:
    """A real store with buckets: Ceph's gateway, on a cluster of its own."""
    require("radosgw")
    if os.geteuid() != 0:
        unavailable(Missing("root", "Ceph's daemons want it", "sudo make test"))
    cluster = Ceph(session_folder / "ceph")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def engine(session_folder: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A store with buckets, of any kind: Ceph's, or as MOORAGE_TEST_ENGINE says."""
    if ENGINE == "minio":
        with minio(session_folder / "minio") as server:
            yield server
    elif ENGINE == "versitygw":
        (folder := session_folder / "versitygw").mkdir()
        with versity(require("versitygw"), folder) as endpoint:
            yield SimpleNamespace(endpoint=endpoint)
    else:
        assert ENGINE == "ceph", f"MOORAGE_TEST_ENGINE is {ENGINE}: ceph, minio and versitygw are known"
        yield request.getfixturevalue("ceph")


@pytest.fixture(scope="session")
def new_image() -> images.NewImage:
    """Makes images around this machine's busybox."""
    return partial(images.image, require("busybox"))


@pytest.fixture
def crane(scratch: Path) -> Client:
    """The crane command, in a home of its own."""
    return Client((str(require("crane")), "--insecure"), scratch)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{request.path.stem.removeprefix('test_').replace('_', '-')}/{words}-{os.urandom(4).hex()}"


@pytest.fixture(scope="session")
def distribution(session_folder: Path) -> Iterator[Callable[..., Distribution]]:
    """Starts CNCF Distribution, version 2 or 3, on a directory: `distribution(3, root)`."""
    started: list[Distribution] = []

    def start(
        version: int, root: Path, *, delete: bool = True, more: Mapping[str, object] | None = None
    ) -> Distribution:
        tool = {2: "docker-registry", 3: "distribution"}[version]
        started.append(Distribution(require(tool), session_folder, root, delete=delete, more=more))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def registry(
    distribution: Callable[..., Distribution], session_folder: Path, request: pytest.FixtureRequest
) -> Iterator[Registry]:
    """The registry that the client tests share, behind a tap; each test has a repository of its own.

    To see whether a client behaves the same elsewhere, MOORAGE_TEST_REGISTRY names another one: `s3` (ours,
    on a bucket), `s3-redirect` (which sends pulls to the store), `distribution2`, `distribution3`, or the
    host:port of one that runs on this machine.
    """
    root = session_folder / "registry"
    chosen = REGISTRY
    with contextlib.ExitStack() as stack:
        if chosen == "moorage":
            server = Server(root, session_folder)
            stack.callback(server.stop)
            chosen = server.registry.host_port
        elif chosen.startswith("s3"):
            engine: Engine = request.getfixturevalue("engine")
            store = stack.enter_context(Tap(urlsplit(engine.endpoint).netloc))
            pair = redirecting_pair(engine, session_folder, store)
            for server in pair:
                stack.callback(server.stop)
            direct, redirecting = (server.registry.host_port for server in pair)
            if chosen == "s3-redirect":
                yield Registry(stack.enter_context(Tap(redirecting)), Wire(direct), store)
            else:
                yield Registry(stack.enter_context(Tap(direct)), Wire(direct))
            return
        elif chosen.startswith("distribution"):
            chosen = distribution(int(chosen[-1]), root).host_port
        yield Registry(stack.enter_context(Tap(chosen)), Wire(chosen))


def redirecting_pair(engine: Engine, folder: Path, store: Tap) -> tuple[Server, Server]:
    """Two servers on one new bucket: the second sends all pulls of blobs to the store, through a tap."""
    bucket = Bucket(client_of(engine.endpoint), "registries/shared")
    return serve(bucket, folder), serve(
        bucket,
        folder,
        redirects(engine, endpoint=f"http://{store.host_port}".replace("127.0.0.1", "localhost")),
    )
