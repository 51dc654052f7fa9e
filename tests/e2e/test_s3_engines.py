"""The S3 driver keeps the contract on real engines, and finds them fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.s3.driver import S3Driver
from tests.e2e.ceph import Ceph
from tests.e2e.engines import minio
from tests.e2e.versity import versity
from tests.equipment.absence import require
from tests.storage.buckets import Bucket, client_of
from tests.storage.conformance_s3 import S3Conformance


class OnAnEngine(S3Conformance):
    """Subclasses provide the fixture `probe`."""

    async def test_it_is_fit(self, driver: S3Driver, probe: Bucket) -> None:
        found = await driver.try_out()
        assert [one for one in found if not one.fit] == []
        assert len(found) == 7
        assert probe.names() == set()


@pytest.fixture(scope="module")
def ceph_client(ceph: Ceph) -> Any:
    """One for all tests."""
    return client_of(ceph.endpoint)


class TestOnCeph(OnAnEngine):
    """Ceph's gateway."""

    @pytest.fixture
    def probe(self, ceph_client: Any) -> Bucket:
        """A new bucket, and a prefix."""
        return Bucket(ceph_client, "some/where")


@pytest.fixture(scope="module")
def versity_client(module_folder: Path) -> Iterator[Any]:
    """Of versitygw, which keeps buckets as directories."""
    with versity(require("versitygw"), module_folder) as endpoint:
        yield client_of(endpoint)


class TestOnVersity(OnAnEngine):
    """versitygw, where no key can be a path prefix of another."""

    @pytest.fixture
    def probe(self, versity_client: Any) -> Bucket:
        """A new bucket, and a prefix."""
        return Bucket(versity_client, "some/where")

    test_no_key_is_a_path_prefix_of_another = None  # type: ignore[assignment]


@pytest.fixture(scope="module")
def minio_client(module_folder: Path) -> Iterator[Any]:
    """Of MinIO."""
    with minio(module_folder / "minio-contract") as server:
        yield client_of(server.endpoint)


@pytest.mark.long_build
class TestOnMinio(OnAnEngine):
    """MinIO, which takes ten minutes to build."""

    @pytest.fixture
    def probe(self, minio_client: Any) -> Bucket:
        """A new bucket, and a prefix."""
        return Bucket(minio_client, "some/where")

    # It does not list both of two such keys; callers have none.
    test_no_key_is_a_path_prefix_of_another = None  # type: ignore[assignment]
