"""containerd with its ctr client, on a socket and data of its own in one of the tests' mount namespaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.client import Client, bare
from tests.e2e.mounts import MountSpace
from tests.e2e.processes import Daemon
from tests.equipment.absence import require

CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/c.sock"
[ttrpc]
address = "{folder}/t.sock"
"""


@pytest.fixture(scope="session")
def ctr(space: MountSpace) -> Iterator[Client]:
    """The ctr client of a containerd that was started for it."""
    folder = space.folder / "cd"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    command = space.enter(require("containerd"), "--config", folder / "config.toml")
    client = Client(tuple(space.enter(require("containerd", "ctr"), "--address", folder / "c.sock")), folder)
    daemon = Daemon(command, folder / "log", bare(folder))
    daemon.wait_until(lambda: client("version", code=None).code == 0)
    yield client
    daemon.stop()


def pulled(ctr: Client, reference: str) -> str:
    """The digest that containerd has under a name."""
    rows = ctr("images", "list", f"name=={reference}").out.splitlines()[1:]
    assert len(rows) == 1, rows
    return next(word for word in rows[0].split() if word.startswith("sha256:"))
