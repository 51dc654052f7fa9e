"""A registry whose bytes lie in a bucket: clients push and pull, and Distribution serves it too."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.server import Server, environment, moorage
from tests.e2e.buckets import distribution_storage, serve, settings
from tests.e2e.client import Client
from tests.e2e.distribution import Distribution
from tests.e2e.engines import Engine
from tests.e2e.images import NewImage, write_layout
from tests.e2e.processes import run
from tests.e2e.wire import Wire
from tests.equipment.absence import require
from tests.storage.buckets import Bucket, client_of
from tests.storage.misbehaving import Rule, proxy_of


@pytest.fixture
def bucket(engine: Engine) -> Bucket:
    """A new one, with a prefix for the registry."""
    return Bucket(client_of(engine.endpoint), "registries/one")


@pytest.fixture
def server(bucket: Bucket, scratch: Path) -> Iterator[Server]:
    """A server on it."""
    server = serve(bucket, scratch)
    yield server
    server.stop()


@pytest.fixture
def skopeo(scratch: Path) -> Client:
    """The skopeo command of this machine."""
    return Client((str(require("skopeo")),), scratch)


def test_clients_push_and_pull_and_nothing_is_left_behind(
    server: Server, bucket: Bucket, crane: Client, skopeo: Client, new_image: NewImage
) -> None:
    # Above a part, so that the layer goes in several.
    image, host_port = new_image(random_bytes=40 << 20), server.registry.host_port
    crane("push", write_layout(image, crane.scratch()), f"{host_port}/team/app:1")
    source, to = write_layout(image, skopeo.scratch()), f"docker://{host_port}/team/app:2"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{source}", to)
    back = skopeo.scratch()
    skopeo("copy", "--src-tls-verify=false", f"docker://{host_port}/team/app:1", f"oci:{back}:1")
    assert {path.name for path in back.glob("blobs/*/*")} >= {
        content.digest.removeprefix("sha256:") for content in image.contents
    }
    crane("validate", "--remote", f"{host_port}/team/app:2")
    assert sorted(crane("ls", f"{host_port}/team/app").out.split()) == ["1", "2"]
    left = {name for name in bucket.names() if "/uploads/" in name or name.startswith(("upload of", ".tmp"))}
    assert left == set()


def test_a_blob_of_no_bytes_and_one_pushed_by_many_at_once(server: Server) -> None:
    """trap 6, trap 62, trap 64"""
    repository = server.repository("team/blobs")
    empty, data = f"sha256:{hashlib.sha256().hexdigest()}", os.urandom(6 << 20)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    repository.push_blob(b"")
    assert repository.ask("GET", f"blobs/{empty}").body == b""
    answer = repository.ask("HEAD", f"blobs/{empty}")
    assert (answer.status, answer["Content-Length"]) == (200, "0")
    with ThreadPoolExecutor(20) as clients:
        assert {*clients.map(repository.push_blob, [data] * 20)} == {digest}
    answer = repository.ask("HEAD", f"blobs/{digest}")
    assert (answer.status, answer["Content-Length"]) == (200, str(len(data)))
    assert repository.ask("GET", f"blobs/{digest}").body == data


def test_a_push_in_pieces_goes_on_with_another_server(server: Server, bucket: Bucket, scratch: Path) -> None:
    data = os.urandom(12 << 20)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    repository = server.repository("team/pieces")
    location = repository.begin()
    half = len(data) // 2
    answer = server.registry.ask("PATCH", location, (), data[:half])
    assert answer.status == 202, answer
    server.kill()
    other = serve(bucket, scratch)
    try:
        repository = other.repository("team/pieces")
        answer = other.registry.ask("PATCH", location, (), data[half:])
        assert answer.status == 202, answer
        assert repository.close(location, digest).status == 201
        assert repository.ask("GET", f"blobs/{digest}").body == data
    finally:
        other.stop()


def test_distribution_serves_the_bucket(
    server: Server,
    bucket: Bucket,
    crane: Client,
    new_image: NewImage,
    distribution: Callable[..., Distribution],
) -> None:
    image = new_image()
    crane("push", write_layout(image, crane.scratch()), f"{server.registry.host_port}/team/app:1")
    other = distribution(3, Path("/"), more=distribution_storage(bucket))
    wire = Wire(other.host_port)
    assert wire.manifest("team/app", "1").digest == image.digest
    crane("validate", "--remote", f"{other.host_port}/team/app:1")
    crane("push", write_layout(new_image(), crane.scratch()), f"{other.host_port}/theirs/app:1")
    crane("validate", "--remote", f"{server.registry.host_port}/theirs/app:1")


def test_the_check_shows_what_was_tried(server: Server, bucket: Bucket) -> None:
    server.command("storage", "reindex")
    told = server.command("storage", "check").out
    for line in ("put if absent, raced", "list and clock", "list unfinished uploads"):
        assert line in told, told
    document = json.loads(server.command("storage", "check", "--json").out)
    assert [one["fit"] for one in document["store"]] == [True] * 7


def test_the_check_shows_what_was_tried_also_where_it_may_not_list(
    server: Server, bucket: Bucket, scratch: Path
) -> None:
    server.stop()
    with proxy_of(bucket.options().endpoint or "") as proxy:
        proxy.rules.append(Rule("GET", "list-type", 403, times=1000))
        written = settings(bucket, scratch)
        written["storage"]["s3"]["endpoint"] = proxy.endpoint
        (scratch / "asked.json").write_text(json.dumps(written))
        words = ("storage", "check", "--json", "--config", str(scratch / "asked.json"))
        shown = json.loads(moorage(*words, code=1).out)["store"]
        fit = {one["what"]: one["fit"] for one in shown}
        unfit = {"list and clock", "put if absent, raced", "read the registry through"}
        assert len(fit) == 8 and {what for what, is_fit in fit.items() if not is_fit} == unfit
        assert all("AccessDenied" in one["found"] for one in shown if not one["fit"])
        # All else asks for the registry.
        assert "AccessDenied" in moorage("repo", "list", *words[3:], code=1).err


def test_without_the_right_key_the_bucket_is_refused(bucket: Bucket, scratch: Path) -> None:
    written = settings(bucket, scratch)
    (scratch / "secret.key").write_text("another\n")
    ended = _refused(written, scratch)
    assert "list and clock; put, get and head" in ended
    assert re.search(r"delete: the store refused \(SignatureDoesNotMatch.*, status 403\)", ended)
    assert "storage.s3.access_key_file" in ended


def test_without_the_bucket_it_is_told(bucket: Bucket, scratch: Path) -> None:
    written = settings(bucket, scratch)
    written["storage"]["s3"]["bucket"] = "no-such-bucket"
    assert "there is no bucket no-such-bucket" in _refused(written, scratch)


def test_secrets_in_a_bucket_want_a_seal(bucket: Bucket, scratch: Path) -> None:
    written = settings(bucket, scratch)
    del written["access"]
    ended = _refused(written, scratch, code=2)
    assert "access.seal_key_file" in ended and "access.seal: none" in ended


def _refused(written: dict[str, object], scratch: Path, code: int = 1) -> str:
    """What `serve` says of settings that it does not serve."""
    listeners = {"registry": {"listen": "127.0.0.1:0"}, "ops": {"listen": "127.0.0.1:0"}}
    (scratch / "refused.yaml").write_text(json.dumps({**written, **listeners}))
    command = [sys.executable, "-m", "registry.cli", "serve", "--config", scratch / "refused.yaml"]
    return run(command, environ=environment(), code=code).text
