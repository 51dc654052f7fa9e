"""What the tests of access share: a process that knows people, and a directory server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.house import House
from tests.access.slapd import Slapd
from tests.equipment.absence import require, require_extra


@pytest.fixture
def house() -> Iterator[House]:
    """One process that knows people; it has not begun yet."""
    made = House()
    yield made
    made.close()


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """OpenLDAP's server; each test adds people of its own."""
    require_extra("ldap")
    program = require("slapd")
    folder = Path(tempfile.mkdtemp(prefix="moorage-ldap-"))
    server = Slapd(program, folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
