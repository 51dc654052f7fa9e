"""What asking a store for something small costs who asks: as the driver does, and by boto3."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.s3.driver import S3Driver
from storage.s3.options import S3Options
from tests.bench.figures import Figure, Rounds, Unit, per_unit
from tests.bench.trials import Ground, Trial
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY, Bucket

KEY, CONTENT = "a/b/c", b"x" * 500


def asking(ground: Ground) -> list[Figure]:
    """The processor time of a GET by the driver, and of one by boto3."""
    bucket = ground.bucket().bucket
    bucket.set(KEY, CONTENT)
    count, repeats = ground.scale.requests, ground.scale.repeats
    with options_of(bucket) as options:
        found = [
            (asyncio.run(by_driver(options, count)), by_boto3(bucket, count)) for _ in range(repeats + 1)
        ]
    # The first only warms up.
    ours, theirs = zip(*found[1:], strict=True)
    meaning = "a small GET of the store by the driver; beside it the same by boto3"
    return [Figure("store-get", meaning, Unit("s / request"), Rounds(ours, theirs))]


async def by_driver(options: S3Options, times: int) -> float:
    """The seconds of processor time that each takes."""
    driver = S3Driver(options)
    await driver.start()
    try:
        assert await driver.get(KEY, limit=len(CONTENT)) == CONTENT
        before = time.process_time_ns()
        for _ in range(times):
            await driver.get(KEY, limit=len(CONTENT))
        return per_unit(time.process_time_ns() - before, times)
    finally:
        await driver.aclose()


def by_boto3(bucket: Bucket, times: int) -> float:
    """The seconds of processor time that each takes."""
    assert bucket.get(KEY) == CONTENT
    before = time.process_time_ns()
    for _ in range(times):
        bucket.get(KEY)
    return per_unit(time.process_time_ns() - before, times)


@contextmanager
def options_of(bucket: Bucket) -> Iterator[S3Options]:
    """With the keys in files, where a driver finds them."""
    with TemporaryDirectory() as folder:
        access, secret = Path(folder, "access"), Path(folder, "secret")
        access.write_text(ACCESS_KEY)
        secret.write_text(SECRET_KEY)
        yield bucket.options(access_key_file=access, secret_key_file=secret)


TRIALS = (Trial(("store-get",), asking),)
