from __future__ import annotations

import pytest

from tests.inmemory import World


@pytest.fixture
def world() -> World:
    """An empty one."""
    return World()
