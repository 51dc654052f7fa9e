"""The storage contract as one suite of tests, inherited by the tests of every driver and wrapper."""

from __future__ import annotations

from tests.storage.conformance_joins import JoinConformance
from tests.storage.conformance_keys import KeyConformance
from tests.storage.conformance_listings import ListingConformance
from tests.storage.conformance_reads import ReadConformance
from tests.storage.conformance_writes import WriteConformance


class DriverConformance(
    KeyConformance, ReadConformance, WriteConformance, JoinConformance, ListingConformance
):
    """The whole contract; subclasses provide the fixtures `driver` and `probe`."""
