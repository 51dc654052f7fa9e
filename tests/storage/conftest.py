"""A store in this process that speaks S3, a bucket of it, and what may be between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.storage.buckets import ACCESS_KEY, SECRET_KEY, Bucket, client_of, emulator
from tests.storage.misbehaving import Proxy, proxy_of


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of a store that has everything."""
    with emulator() as endpoint:
        yield client_of(endpoint)


@pytest.fixture
def bucket(client: Any) -> Bucket:
    """A new one."""
    return Bucket(client)


@pytest.fixture
def proxy(client: Any) -> Iterator[Proxy]:
    """Between a driver and the store."""
    with proxy_of(client.meta.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What drivers find in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
