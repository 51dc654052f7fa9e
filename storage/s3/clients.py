"""How boto3 talks to a bucket."""

from __future__ import annotations

from typing import Any

from botocore.config import Config

from storage.errors import Unavailable
from storage.s3.credentials import Access
from storage.s3.errors import FAILURES
from storage.s3.options import S3Options


def make_client(access: Access, options: S3Options, connections: int, **keys: str) -> Any:
    """A client with room for so many connections; it never makes a request again by itself.

    Raises Unavailable, naming the setting that cannot be used.
    """
    style = "path" if options.path_style else "virtual" if options.endpoint is None else "auto"
    config = Config(
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        signature_version="s3v4",
        tcp_keepalive=True,
        request_checksum_calculation=options.checksums,
        response_checksum_validation=options.checksums,
        s3={"addressing_style": style, "payload_signing_enabled": options.payload_signing},
    )
    try:
        return access.session.client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint,
            verify=None if options.ca_file is None else str(options.ca_file),
            config=config,
            **keys,
        )
    except (*FAILURES, ValueError) as error:
        raise Unavailable("", f"the store {options.place} cannot be used: {error}") from error
