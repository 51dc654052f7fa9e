"""Failed assertions of the inherited suite show their values, too."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.storage.conformance_joins",
    "tests.storage.conformance_keys",
    "tests.storage.conformance_listings",
    "tests.storage.conformance_reads",
    "tests.storage.conformance_writes",
)
