"""What the driver must know of a bucket and of how to talk to its store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MIB = 1 << 20
LEAST_PART_BYTES = 5 * MIB
"""No part of an upload but the last may be smaller (S3: multipart upload limits)."""
MOST_PARTS = 10_000
"""So many parts has an upload at most (S3: multipart upload limits)."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """A bucket, how to reach it, and what a process may use for it; sizes in bytes, times in seconds."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    path_style: bool = False
    # Files with keys; without them whatever boto3 finds: environment, shared files, web identity, instance.
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    ca_file: Path | None = None
    # Where clients reach the store, if that is elsewhere.
    public_endpoint: str | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    metadata_requests: int = 16
    body_threads: int = 32
    # Bodies that are read at once, each on a connection of its own, most of them waiting for a slow client.
    max_connections: int = 512
    attempts: int = 4
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 60.0
    part_bytes: int = 16 * MIB
    part_buffer_bytes: int = 64 * MIB
    checksums: Literal["when_required", "when_supported"] = "when_required"
    payload_signing: bool = False
    # What S3 says, but for tests.
    least_part_bytes: int = LEAST_PART_BYTES
    most_parts: int = MOST_PARTS
    copy_part_bytes: int = 256 * MIB

    @property
    def place(self) -> str:
        """The bucket as people write it."""
        path = f"{self.bucket}/{self.prefix}".rstrip("/")
        return f"s3://{path}" + (f" at {self.endpoint}" if self.endpoint else "")

    def name(self, key: str) -> str:
        """What a key is called in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def key(self, name: str) -> str:
        """The key of what is called so in the bucket."""
        return name[len(self.name("")) :]
