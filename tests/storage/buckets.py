"""Buckets of a store that runs in the test's own process, and a look at what lies in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from boto3.session import Session
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, make_server

from storage.s3.options import S3Options

ACCESS_KEY = f"key{uuid4().hex[:12]}"
SECRET_KEY = uuid4().hex
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    """Keeps connections, as stores do, and quiet."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Nothing."""


@contextmanager
def emulator(altered: Callable[[Application], Application] = lambda store: store) -> Iterator[str]:
    """The address of an emulated store, which does one thing at a time, and so keeps its conditions."""
    inner = altered(DomainDispatcherApplication(create_backend_app))
    turn = threading.Lock()

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with turn:
            return [b"".join(inner(environ, start))]

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Handler)
    assert isinstance(server, ThreadedWSGIServer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_of(endpoint: str) -> Any:
    """A client of the test's own."""
    return Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY).client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Bucket:
    """A new bucket; keys are told as the driver has them."""

    def __init__(self, client: Any, prefix: str = "") -> None:
        self.client = client
        self.name = f"moorage-{uuid4().hex[:12]}"
        self.prefix = prefix
        self.client.create_bucket(Bucket=self.name)

    def options(self, **more: Any) -> S3Options:
        """What a driver is told to use it."""
        return S3Options(
            **{
                "bucket": self.name,
                "prefix": self.prefix,
                "endpoint": self.client.meta.endpoint_url,
                "region": "us-east-1",
                "path_style": True,
                **more,
            }
        )

    def get(self, key: str) -> bytes | None:
        """The bytes under a key."""
        try:
            body = self.client.get_object(Bucket=self.name, Key=self._name(key))["Body"]
        except self.client.exceptions.NoSuchKey:
            return None
        with body:
            data: bytes = body.read()
        return data

    def set(self, key: str, data: bytes) -> None:
        """An object as other programs make them."""
        self.client.put_object(Bucket=self.name, Key=self._name(key), Body=data)

    def names(self) -> frozenset[str]:
        """All keys, and the uploads that were left unfinished."""
        found = set()
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            found |= {one["Key"] for one in page.get("Contents", ())}
        assert all(name.startswith(self._name("")) for name in found), "everything lies below the prefix"
        left = {f"upload of {name}" for name in self.uploads()}
        return frozenset({name[len(self._name("")) :] for name in found} | left)

    def uploads(self) -> list[str]:
        """The keys of the uploads that are neither completed nor aborted."""
        page = self.client.list_multipart_uploads(Bucket=self.name)
        return [one["Key"][len(self._name("")) :] for one in page.get("Uploads", ())]

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key
