"""The S3 driver keeps the contract, on an emulated store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.storage.buckets import Bucket, client_of, emulator
from tests.storage.conformance_listings import ListingConformance
from tests.storage.conformance_s3 import OnS3, S3Conformance

# A store that speaks HTTP, though in this process.
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of a store of these tests' own."""
    with emulator() as endpoint:
        yield client_of(endpoint)


class TestBelowAPrefix(S3Conformance):
    """All of it, with a bucket for each test."""

    @pytest.fixture
    def probe(self, client: Any) -> Bucket:
        """A new one."""
        return Bucket(client, "some/where")


class TestInABucketOfItsOwn(OnS3, ListingConformance):
    """What a prefix could hide: the names."""

    @pytest.fixture
    def probe(self, client: Any) -> Bucket:
        """A new one."""
        return Bucket(client)
