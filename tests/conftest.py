"""What every test needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Failed assertions of the inherited suite of drivers show their values, too, whoever inherits it.
pytest.register_assert_rewrite(
    "tests.storage.conformance_joins",
    "tests.storage.conformance_keys",
    "tests.storage.conformance_listings",
    "tests.storage.conformance_reads",
    "tests.storage.conformance_s3",
    "tests.storage.conformance_writes",
)

# How long a machine takes to draw an example, or to try one, says nothing about the code.
settings.register_profile("moorage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("moorage")

HERE = Path(__file__).parent
# Modules of half a minute and more begin first, the longest before the others: `make test` hands modules to
# two processes in this order, and one that began among the last would leave the other with nothing to do.
LONGEST = (
    "e2e/test_collections.py",
    "upkeep/test_crash.py",
    "e2e/test_kills.py",
    "e2e/test_s3_engines.py",
    "e2e/test_soak.py",
    "storage/test_s3.py",
    "e2e/test_replicas.py",
    "e2e/test_bundle_proof.py",
    "e2e/test_s3_faults.py",
    "e2e/test_s3_kills.py",
    "e2e/test_conformance.py",
    "durability/test_power_loss.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest to the front; the others keep their order."""
    places = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
