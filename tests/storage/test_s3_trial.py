"""What a server finds out about a bucket before it serves from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.app.storage import require_fit
from storage.errors import Unavailable
from storage.findings import UnsuitableStore
from storage.s3.driver import S3Driver
from tests.storage.buckets import Bucket, client_of, emulator
from tests.storage.misbehaving import Proxy, Rule
from tests.storage.probing import pieces

# A store that speaks HTTP, though in this process.
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("credentials")]


async def findings(driver: S3Driver) -> dict[str, tuple[bool, str]]:
    """By what was tried: whether it is fit, and what was found."""
    await driver.start()
    try:
        return {one.what: (one.fit, one.found) for one in await driver.try_out()}
    finally:
        await driver.aclose()


async def test_a_store_that_has_everything_is_fit_and_left_as_it_was(client: Any) -> None:
    bucket = Bucket(client, "below")
    found = await findings(S3Driver(bucket.options()))
    assert len(found) == 7
    assert all(fit for fit, _ in found.values()), found
    assert "one winner of 16 in each of 4 rounds" in found["put if absent, raced"][1]
    assert bucket.names() == set()


def unconditional(inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """A store that does not know conditions, and so does not keep them."""

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return inner(environ, start)

    return application


async def test_a_store_without_conditions_is_not_fit() -> None:
    with emulator(unconditional) as endpoint:
        bucket = Bucket(client_of(endpoint))
        found = await findings(S3Driver(bucket.options()))
        assert bucket.names() == set()
    unfit = {what: told for what, (fit, told) in found.items() if not fit}
    assert unfit.keys() == {"put if absent, raced"}
    assert "16 were told that they had" in unfit["put if absent, raced"]


async def test_a_clock_that_is_wrong_is_told(client: Any) -> None:
    wrong = S3Driver(Bucket(client).options(), now=lambda: datetime.now(UTC) - timedelta(minutes=10))
    fit, told = (await findings(wrong))["list and clock"]
    assert not fit
    assert "differ by 600 s" in told or "differ by 599 s" in told or "differ by 601 s" in told


async def test_writers_who_are_told_of_a_conflict_have_not_won(client: Any, proxy: Proxy) -> None:
    proxy.rules.append(Rule("PUT", "race/2", 409, times=5))
    found = await findings(S3Driver(Bucket(client).options(endpoint=proxy.endpoint)))
    assert found["put if absent, raced"][0]


async def test_what_reads_alone_tries_nothing_else(client: Any, proxy: Proxy) -> None:
    driver = S3Driver(Bucket(client).options(endpoint=proxy.endpoint), read_only=True)
    assert list(await findings(driver)) == ["list and clock"]
    assert {one.partition(" ")[0] for one in proxy.seen} == {"GET"}


async def test_keys_in_files_are_taken_up_and_what_is_wrong_with_them_is_told(
    client: Any, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    access, secret = tmp_path / "access", tmp_path / "secret"
    bucket = Bucket(client)
    options = bucket.options(endpoint=proxy.endpoint, access_key_file=access, secret_key_file=secret)
    with pytest.raises(Unavailable, match="access cannot be read"):
        await S3Driver(options).start()
    access.write_text("first\n")
    secret.write_text("\n")
    with pytest.raises(Unavailable, match="secret should hold a key, and is empty"):
        await S3Driver(options).start()
    secret.write_text("its secret\n")
    driver = S3Driver(options)
    await driver.start()
    try:
        await driver.children("")
        access.write_text("second\n")
        await driver.children("")
        access.unlink()
        await driver.children("")
        access.write_text("")
        await driver.children("")
        access.write_text("third\n")
        await driver.children("")
    finally:
        await driver.aclose()
    assert proxy.keys == ["first", "second", "second", "second", "third"], (
        "while there are none, the old ones"
    )


async def test_credentials_that_stay_expired_are_said_to_be(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    driver = S3Driver(Bucket(client).options())
    await driver.start()
    try:
        with pytest.raises(Unavailable, match="there are no credentials for the store"):
            await driver.stat("key")
        with pytest.raises(Unavailable, match="there are no credentials for the store"):
            await driver.write("key", pieces(b"bytes"))
        with pytest.raises(Unavailable, match="there are no credentials for the store"):
            await driver.presign("key", "GET", lifetime_seconds=60)
    finally:
        await driver.aclose()


async def test_where_there_is_no_bucket_nothing_else_is_tried(client: Any, proxy: Proxy) -> None:
    options = Bucket(client).options(endpoint=proxy.endpoint)
    found = await findings(S3Driver(replace(options, bucket="no-such-bucket")))
    assert [(what, fit) for what, (fit, _) in found.items()] == [("list and clock", False)]
    assert "there is no bucket no-such-bucket" in found["list and clock"][1]
    assert {one.partition(" ")[0] for one in proxy.seen} == {"GET"}


async def test_what_is_wrong_with_all_of_a_store_is_told_once(client: Any, proxy: Proxy) -> None:
    proxy.rules.append(Rule("", "", 403, times=1000))
    driver = S3Driver(Bucket(client).options(endpoint=proxy.endpoint))
    await driver.start()
    try:
        with pytest.raises(UnsuitableStore) as raised:
            await require_fit(driver, "s3://registry")
    finally:
        await driver.aclose()
    first, *reasons = str(raised.value).splitlines()
    assert first == "the store s3://registry cannot be used"
    assert [one.count("the store refused") for one in reasons] == [1]
    assert "list and clock; put, get and head; " in reasons[0]
