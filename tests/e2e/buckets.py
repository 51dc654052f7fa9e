"""Registries that keep their bytes in a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.api.client import Answer
from tests.api.server import Server, merged
from tests.e2e.engines import Engine
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY, Bucket


def settings(bucket: Bucket, folder: Path) -> dict[str, Any]:
    """What a server is told to use a bucket; the keys lie in files of the folder."""
    for name, key in (("access.key", ACCESS_KEY), ("secret.key", SECRET_KEY)):
        (folder / name).write_text(f"{key}\n")
    options = bucket.options()
    return {
        "storage": {
            "driver": "s3",
            "s3": {
                "bucket": options.bucket,
                "prefix": options.prefix,
                "endpoint": options.endpoint,
                "region": options.region,
                "path_style": options.path_style,
                "access_key_file": str(folder / "access.key"),
                "secret_key_file": str(folder / "secret.key"),
            },
        },
        "access": {"seal": "none"},
    }


def serve(bucket: Bucket, folder: Path, more: Mapping[str, Any] | None = None) -> Server:
    """A server on a bucket."""
    return Server(folder, folder, merged(settings(bucket, folder), more or {}))


def told_to_come_back(answer: Answer) -> bool:
    """Whether an answer says that it would have been another with a store."""
    return answer.refuses(503, "UNAVAILABLE") and int(answer["Retry-After"]) > 0


def files_and_threads(server: Server) -> tuple[int, int]:
    """How many descriptors and threads the server has."""
    process = Path(f"/proc/{server.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def distribution_storage(bucket: Bucket) -> dict[str, Any]:
    """The same bucket as CNCF Distribution is told of it."""
    options = bucket.options()
    return {
        "storage": {
            "s3": {
                "bucket": options.bucket,
                "rootdirectory": f"/{options.prefix}",
                "regionendpoint": options.endpoint,
                "region": options.region,
                "accesskey": ACCESS_KEY,
                "secretkey": SECRET_KEY,
                "secure": False,
                "forcepathstyle": True,
            },
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        }
    }


def redirects(engine: Engine, **more: object) -> dict[str, Any]:
    """What a server is told besides, to send pulls to the store, by another name of this host."""
    public = engine.endpoint.replace("127.0.0.1", "localhost")
    redirect = {"enabled": True, "smallest": "0B", "endpoint": public, **more}
    return {"storage": {"s3": {"redirect": redirect}}}
