"""What asking a store for something small costs who asks: by boto3, and without what that does around it."""

from __future__ import annotations

import time
from collections.abc import Callable

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.bench.figures import Figure, Rounds, Unit, per_unit
from tests.bench.trials import Ground, Trial
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY

KEY, CONTENT = "a/b/c", b"x" * 500
REGION = "us-east-1"


def asking(ground: Ground) -> list[Figure]:
    """The processor time of a GET by boto3; beside it one that botocore signs and urllib3 sends."""
    bucket = ground.bucket().bucket
    bucket.client.put_object(Bucket=bucket.name, Key=KEY, Body=CONTENT)
    signer = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    url = f"{bucket.client.meta.endpoint_url}/{bucket.name}/{KEY}"

    def whole() -> None:
        assert bucket.client.get_object(Bucket=bucket.name, Key=KEY)["Body"].read() == CONTENT

    with urllib3.PoolManager() as pool:

        def bare() -> None:
            request = AWSRequest("GET", url)
            signer.add_auth(request)
            answer = pool.request("GET", url, headers=dict(request.headers.items()), retries=False)
            assert answer.data == CONTENT

        count, repeats = ground.scale.requests, ground.scale.repeats
        found = [(spent(whole, count), spent(bare, count)) for _ in range(repeats + 1)]
    # The first only warms up.
    by_boto3, by_hand = zip(*found[1:], strict=True)
    meaning = "a small GET of the store by boto3; beside it the same signed by botocore and sent by urllib3"
    return [Figure("store-get", meaning, Unit("s / request"), Rounds(by_boto3, by_hand))]


def spent(work: Callable[[], None], times: int) -> float:
    """The seconds of processor time that some work takes here."""
    before = time.process_time_ns()
    for _ in range(times):
        work()
    return per_unit(time.process_time_ns() - before, times)


TRIALS = (Trial(("store-get",), asking),)
