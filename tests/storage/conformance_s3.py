"""The storage contract on S3, for the emulator and for every real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.contract import Driver
from storage.s3.driver import S3Driver
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY, Bucket
from tests.storage.conformance import DriverConformance
from tests.storage.probing import DriverTests, Probe


class OnS3(DriverTests):
    """Subclasses provide the fixture `probe`, a bucket."""

    many = 1100  # a page of a listing has a thousand

    @pytest.fixture
    async def driver(self, probe: Bucket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Driver]:
        """One that finds its credentials where everybody's lie, in the environment."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        driver = S3Driver(probe.options())
        await driver.start()
        yield driver
        await driver.aclose()


class S3Conformance(OnS3, DriverConformance):
    """The contract, but for what would take a request for each segment of a key."""

    async def test_no_key_is_a_path_prefix_of_another(self, driver: Driver, probe: Probe) -> None:
        """That is left to the callers; a store keeps both, and the driver lists the name once."""
        await driver.put("a/b", b"x")
        await driver.put("a", b"y")
        assert probe.names() == {"a", "a/b"}
        assert await driver.children("") == ["a"]
        assert [key async for key in driver.walk("")] == ["a", "a/b"]
