"""skopeo, podman and buildah, as Debian 12 and as Debian 13 have them; they share their settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.mounts import MountSpace
from tests.equipment.absence import require

# Engines raise limits by default, which needs a capability that a sandbox may withhold; crun refuses a
# machine with both cgroup versions, runc does not.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
[storage.options]
pull_options = {{enable_partial_images = "true", use_hard_links = "false", ostree_repos = ""}}
"""

Clients = Callable[[str], Client]


def clients(space: MountSpace, find: Callable[[str], Path]) -> Clients:
    """The clients of one root by name, with settings and storage of their own."""
    folder = space.folder / "ct"
    folder.mkdir()
    files = {
        "containers.conf": CONTAINERS_CONF,
        "storage.conf": STORAGE_CONF.format(folder=folder),
        "registries.conf": "",
        "policy.json": json.dumps({"default": [{"type": "insecureAcceptAnything"}]}),
        "auth.json": "{}",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    environ = {
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        "CONTAINERS_REGISTRIES_CONF": f"{folder}/registries.conf",
        "REGISTRY_AUTH_FILE": f"{folder}/auth.json",
        "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        "TMPDIR": str(folder),
    }
    policy = {"skopeo": ["--policy", folder / "policy.json"]}

    def client(name: str) -> Client:
        return Client(tuple(space.enter(find(name), *policy.get(name, []))), folder, environ)

    return client


@pytest.fixture(scope="session")
def containers(space: MountSpace) -> Clients:
    """skopeo 1.9, podman 4.3 and buildah 1.28 on Debian 12."""
    return clients(space, require)


@pytest.fixture(scope="session")
def newer_containers(debian13: MountSpace) -> Clients:
    """skopeo 1.18, podman 5.4 and buildah 1.39 in the Debian 13 root."""
    return clients(debian13, lambda name: Path("/usr/bin") / name)
