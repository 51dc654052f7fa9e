"""nginx, Caddy and HAProxy in front, as we ship them: clients push and pull, and nothing waits there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.server import Server
from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker
from tests.e2e.docker_suite import runs
from tests.e2e.images import NewImage, digest_of, write_layout
from tests.e2e.processes import free_port
from tests.e2e.proxies import PROXIES, Proxy, running
from tests.e2e.wire import Wire
from tests.equipment.absence import require

BIG = 64 << 20
PIECE = os.urandom(1 << 20)
RULES = "- {who: anonymous, repositories: ['**'], may: [pull, push, list]}\n"


@dataclass(frozen=True)
class Proxied:
    """Moorage behind a proxy, which has TLS."""

    server: Server
    proxy: Proxy

    @property
    def host_port(self) -> str:
        return self.proxy.host_port

    def begin(self, connection: http.client.HTTPConnection, repository: str) -> str:
        """Begin an upload; the location exactly as it was answered."""
        connection.request("POST", f"/v2/{repository}/blobs/uploads/")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202
        return answer.headers["Location"]


@pytest.fixture
def connection(proxied: Proxied) -> Iterator[http.client.HTTPSConnection]:
    """A connection through the proxy."""
    with proxied.proxy.connect() as connection:
        yield connection


@pytest.fixture(scope="module", params=PROXIES)
def proxied(request: pytest.FixtureRequest, module_folder: Path) -> Iterator[Proxied]:
    """Both of them, started."""
    folder = module_folder / request.param
    folder.mkdir()
    rules = folder / "access.yaml"
    rules.write_text(RULES)
    settings = {"access": {"rules_file": str(rules)}, "trusted_proxies": ["127.0.0.1"]}
    server = Server(folder / "registry", folder, settings)
    try:
        with running(request.param, folder / "proxy", [server.registry.host_port]) as proxy:
            yield Proxied(server, proxy)
    finally:
        server.stop()


def test_docker_pushes_and_pulls(
    proxied: Proxied, docker: Docker, repository: str, new_image: NewImage
) -> None:
    """With TLS: what is called localhost is tried with it first, whatever its certificate."""
    image, reference = new_image(random_bytes=24 << 20), f"{proxied.host_port}/{repository}:1"
    docker.load(image, reference)
    digest = docker.push(reference)
    assert Wire(proxied.server.registry.host_port).manifest(repository, "1").digest == digest
    docker("rmi", reference)
    docker("pull", reference)
    assert runs(docker, reference, image)


def test_a_client_pushes_and_pulls(
    proxied: Proxied, containers: Clients, scratch: Path, repository: str, new_image: NewImage
) -> None:
    image = new_image(random_bytes=4 << 20)
    skopeo = containers("skopeo")
    layout = write_layout(image, skopeo.scratch())
    place = f"docker://{proxied.host_port}/{repository}:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:1", place)
    back = skopeo.scratch() / "back"
    skopeo("copy", "--src-tls-verify=false", place, f"oci:{back}:1")
    for content in image.contents:
        blob = back / "blobs/sha256" / content.digest.removeprefix("sha256:")
        assert digest_of(blob.read_bytes()) == content.digest
    Wire(proxied.server.registry.host_port).whole(repository, "1")


def test_crane_pushes_and_pulls_with_the_certificate(
    proxied: Proxied, repository: str, new_image: NewImage, scratch: Path
) -> None:
    """Over HTTP/2, which only nginx is not told to offer."""
    trusting = {"SSL_CERT_FILE": str(proxied.proxy.certificate)}
    crane = Client((str(require("crane")),), scratch, trusting)
    image, reference = new_image(random_bytes=4 << 20), f"{proxied.host_port}/{repository}:1"
    crane("push", write_layout(image, crane.scratch()), reference)
    crane("validate", "--remote", reference)
    assert crane("digest", reference).out.strip() == image.digest
    offered = "nginx" not in proxied.proxy.daemon.command[0]
    assert ("HTTP/2.0" in proxied.proxy.access_log.read_text()) == offered


def test_places_are_relative_and_lead_back_through_the_proxy(
    proxied: Proxied, connection: http.client.HTTPSConnection, repository: str
) -> None:
    location = proxied.begin(connection, repository)
    assert location.startswith(f"/v2/{repository}/blobs/uploads/")
    content = b"through a proxy"
    joint = "&" if urlsplit(location).query else "?"
    connection.request("PUT", f"{location}{joint}digest={digest_of(content)}", content)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201
    connection.request("GET", answer.headers["Location"])
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, content)
    assert answer.headers["Docker-Content-Digest"] == digest_of(content)


def test_a_body_goes_on_to_the_storage_while_it_comes(
    proxied: Proxied, connection: http.client.HTTPSConnection, repository: str
) -> None:
    """With buffering, nothing of it would be on the disk before its end, and all of it twice."""
    location = proxied.begin(connection, repository)
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    sent = 0
    session = proxied.server.root / "_moorage/v1/uploads" / location.rpartition("/")[2]
    while largest(session) < 8 << 20:
        assert sent < BIG, "nothing has reached the storage"
        connection.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        sent += len(PIECE)
    connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{sent - 1}")


def test_a_big_layer_goes_there_and_back(
    proxied: Proxied, connection: http.client.HTTPSConnection, repository: str
) -> None:
    location = proxied.begin(connection, repository)
    pieces = BIG // len(PIECE)
    digest = digest_of(PIECE * pieces)
    joint = "&" if urlsplit(location).query else "?"
    connection.request(
        "PUT",
        f"{location}{joint}digest={digest}",
        (PIECE for _ in range(pieces)),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    answer = connection.getresponse()
    assert (answer.status, int(answer.headers["Content-Length"])) == (200, BIG)
    assert digest_of(answer.read()) == digest
    connection.request("GET", f"/v2/{repository}/blobs/{digest}", headers={"Range": "bytes=-5"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (206, PIECE[-5:])


def test_the_log_names_the_client_and_not_the_proxy(proxied: Proxied) -> None:
    """Whatever a client says of itself, the proxy has the last word."""
    with proxied.proxy.connect("127.0.0.2") as connection:
        said = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "mine", "User-Agent": "who asked"}
        connection.request("GET", "/v2/", headers=said)
        answer = connection.getresponse()
        answer.read()
    line = logged(proxied.server, "who asked")
    assert line["client"] == "127.0.0.2"
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f-]{32,36}", line["request_id"]), "a proxy's own are longer than ours"


def test_a_long_head_is_refused_by_the_proxy(
    proxied: Proxied, connection: http.client.HTTPSConnection
) -> None:
    # Who is answered before the head has ended may find the connection gone.
    with contextlib.suppress(OSError):
        connection.request("GET", "/v2/", headers={"X-Long": "x" * 40_000, "User-Agent": "long"})
        assert connection.getresponse().status in (400, 431)
    assert '"long"' not in proxied.server.log


@pytest.mark.parametrize("kind", PROXIES)
def test_without_the_registry_clients_get_an_answer_that_they_can_read(kind: str, scratch: Path) -> None:
    with (
        running(kind, scratch / "proxy", [f"127.0.0.1:{free_port()}"]) as proxy,
        proxy.connect() as connection,
    ):
        connection.request("GET", "/v2/")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert json.loads(answer.read())["errors"][0]["code"] == "UNAVAILABLE"


def largest(root: Path) -> int:
    """The size of the largest file in a folder, of those still being written too."""
    sizes = [0]
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                sizes.append(os.stat(os.path.join(folder, name)).st_size)
    return max(sizes)


def logged(server: Server, words: str) -> dict[str, Any]:
    """The line about the request that these words are in; it is written after the answer."""
    end = monotonic() + 30
    while monotonic() < end:
        for line in server.events("http.request"):
            if words in json.dumps(line):
                return line
        sleep(0.02)
    raise AssertionError(f"{words} was not logged")
