"""What an operator may set about where the bytes lie."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from registry.settings import Duration, Network, Settings, Size
from storage.keys import is_key

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]

_LONGEST = timedelta(days=7)  # of a presigned address (S3: signature version 4)


def _named(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        # To a path that would be the directory where the program happens to be.
        raise ValueError("must name a directory; `.` is the one where the program is started")
    return value


def _prefix(text: str) -> str:
    if text and not is_key(text):
        raise ValueError("must be made of A-Z a-z 0-9 . _ - and /, with no / at either end")
    return text


def _endpoint(text: str) -> str:
    try:
        place = urlsplit(text)
        fits = place.scheme in ("http", "https") and place.hostname and place.port != 0
    except ValueError:
        fits = False
    if not fits or place.path.strip("/") or place.query or place.fragment or "@" in place.netloc:
        raise ValueError("must be https://HOST or http://HOST, with :PORT where it is another than 443 or 80")
    return text.rstrip("/")


class RedirectSettings(Settings):
    """Whether blobs are pulled from the store itself: by whom, from what size on, and for how long."""

    enabled: bool = False
    networks: tuple[Network, ...] = ()
    smallest: Annotated[Size, Field(ge=0)] = 1 << 20
    lifetime: Annotated[Duration, Field(ge=timedelta(minutes=1), le=_LONGEST)] = timedelta(minutes=20)
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None


class S3Settings(Settings):
    """A bucket of an S3-compatible store, and what each process may use for it."""

    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    # Below which everything lies; Distribution's rootdirectory.
    prefix: Annotated[str, AfterValidator(_prefix)] = ""
    region: str | None = None
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    path_style: bool = False
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    ca_file: Path | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    metadata_requests: Annotated[int, Field(ge=1, le=256)] = 16
    body_threads: Annotated[int, Field(ge=1, le=256)] = 32
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 512
    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    connect_timeout_seconds: Seconds = 5.0
    read_timeout_seconds: Seconds = 60.0
    # No part but the last may be smaller than 5 MiB (S3: multipart upload limits).
    part_bytes: Annotated[Size, Field(ge=5 << 20, le=5 << 30)] = 16 << 20
    part_buffer_bytes: Annotated[Size, Field(ge=16 << 20)] = 64 << 20
    checksums: Literal["when_required", "when_supported"] = "when_required"
    payload_signing: bool = False
    redirect: RedirectSettings = RedirectSettings()

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.access_key_file is None) != (self.secret_key_file is None):
            raise ValueError("access_key_file and secret_key_file belong together: name both, or neither")
        if self.kms_key_id is not None and self.encryption != "aws:kms":
            raise ValueError("kms_key_id belongs to encryption: aws:kms")
        if self.part_bytes > self.part_buffer_bytes:
            raise ValueError("part_buffer_bytes must hold a part at least (part_bytes)")
        return self


class StorageSettings(Settings):
    """A directory, or a bucket; `root` is found from where the program was started."""

    driver: Literal["local", "s3"] = "local"
    root: Annotated[Path, BeforeValidator(_named)] = Path("data")
    allow_case_folding: bool = False
    s3: S3Settings | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.driver == "s3" and self.s3 is None:
            raise ValueError("the driver s3 needs a section s3 that names its bucket")
        if self.driver == "s3" and "root" in self.model_fields_set:
            raise ValueError("a root is a directory, and belongs to the driver local: name one of the two")
        return self

    @property
    def text(self) -> str:
        """The place as people write it."""
        if self.driver == "local" or self.s3 is None:
            return os.path.realpath(self.root)
        at = f" at {self.s3.endpoint}" if self.s3.endpoint else ""
        return f"s3://{self.s3.bucket}/{self.s3.prefix}".rstrip("/") + at
