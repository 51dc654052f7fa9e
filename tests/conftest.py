"""What every test needs."""

from __future__ import annotations

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
