"""The limit of open files."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from registry.server.descriptors import most_connections, raise_limit

RAISED = """
import resource
from registry.server.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_becomes_the_hard_one() -> None:
    told = subprocess.run([sys.executable, "-c", RAISED], capture_output=True, check=True, text=True)
    assert told.stdout.split() == ["200", "200", "200"]


@pytest.mark.parametrize(
    ("soft", "kernels", "raised"), [(256, 10**7, 1 << 20), (256, 12_288, 10_240), (256, 100, 256)]
)
def test_an_unlimited_hard_limit_is_what_the_kernel_takes(
    monkeypatch: pytest.MonkeyPatch, soft: int, kernels: int, raised: int
) -> None:
    def set_limit(_: int, limits: tuple[int, int]) -> None:
        if limits[0] > kernels:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert raise_limit() == raised


@pytest.mark.parametrize(("limit", "connections"), [(20_000, 19_744), (1024, 768), (512, 256), (64, 32)])
def test_files_get_their_share(limit: int, connections: int) -> None:
    assert most_connections(limit) == connections
