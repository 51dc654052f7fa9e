"""Raw bytes: malformed, lying, smuggling, cut off, and sound ones among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import Maker, run
from tests.fuzz.malformed import malformed, mutated
from tests.fuzz.smuggling import smuggling
from tests.fuzz.sound import pipelined
from tests.fuzz.victim import Victim
from tests.server.test_tls import make as make_pair
from tests.soak import rounds

MAKERS: tuple[Maker, ...] = (smuggling, malformed, mutated, pipelined)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """A server; whatever it should not have done fails the test at its end."""
    started = Victim(tmp_path)
    yield started
    harm = list(started.harm())
    assert harm == [], "\n".join(harm[:20])


@pytest.mark.e2e
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_what_no_client_should_send(victim: Victim, tmp_path: Path, make: Maker) -> None:
    failures = run(victim.server.registry.host_port, [make], 1, 200, victim.paths, tmp_path)
    assert failures == [], "\n\n".join(str(one) for one in failures[:10])


@pytest.mark.e2e
def test_over_tls(tmp_path: Path) -> None:
    victim = Victim(tmp_path, make_pair(tmp_path / "pair"))
    failures = run(victim.server.registry.host_port, MAKERS, 1, 100, victim.paths, tmp_path, victim.tls)
    assert failures == [], "\n\n".join(str(one) for one in failures[:10])
    assert list(victim.harm()) == []


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.timeout(0)
def test_for_as_long_as_one_likes(victim: Victim, tmp_path: Path) -> None:
    for seed in rounds(9):
        failures = run(victim.server.registry.host_port, MAKERS, seed, 300, victim.paths, tmp_path)
        assert failures == [], "\n\n".join(str(one) for one in failures[:10])
