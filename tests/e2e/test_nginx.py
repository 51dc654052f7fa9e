"""nginx in front, as we ship its configuration: clients push and pull through it, and nothing waits there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.server import Server
from tests.e2e.containers import Clients
from tests.e2e.images import NewImage, digest_of, write_layout
from tests.e2e.processes import Daemon, accepts, free_port
from tests.e2e.wire import Wire
from tests.equipment.absence import require

SHIPPED = Path(__file__).parents[2] / "deploy/nginx/moorage.conf"
BIG = 64 << 20
PIECE = os.urandom(1 << 20)


@dataclass(frozen=True)
class Proxied:
    """Moorage behind nginx, which has TLS."""

    server: Server
    port: int
    certificate: Path

    @property
    def host_port(self) -> str:
        return f"localhost:{self.port}"

    @contextlib.contextmanager
    def connect(self, client: str = "127.0.0.1") -> Iterator[http.client.HTTPSConnection]:
        """A connection from an address of this machine, which trusts the certificate."""
        context = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=60, context=context, source_address=(client, 0)
        )
        with contextlib.closing(connection):
            yield connection

    def begin(self, connection: http.client.HTTPConnection, repository: str) -> str:
        """Begin an upload; the location exactly as it was answered."""
        connection.request("POST", f"/v2/{repository}/blobs/uploads/")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202
        return answer.headers["Location"]


def configuration(port: int, upstream: str, certificate: Path) -> str:
    """The shipped file with the three things changed that it says to change, and the port."""
    text = SHIPPED.read_text()
    for shipped, here in (
        ("    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen 127.0.0.1:{port} ssl;\n"),
        ("server 127.0.0.1:5000;", f"server {upstream};"),
        ("server_name registry.example.com;", "server_name localhost;"),
        ("/etc/nginx/tls/registry.example.com.crt", str(certificate)),
        ("/etc/nginx/tls/registry.example.com.key", str(certificate.with_suffix(".key"))),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    return text


@pytest.fixture
def connection(proxied: Proxied) -> Iterator[http.client.HTTPSConnection]:
    """A connection through the proxy."""
    with proxied.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def proxied(session_folder: Path) -> Iterator[Proxied]:
    """Both of them, started."""
    nginx = require("nginx")
    folder = session_folder / "nginx"
    folder.mkdir()
    certificate = folder / "localhost.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    rules = folder / "access.yaml"
    rules.write_text("- {who: anonymous, repositories: ['**'], may: [pull, push, list]}\n")
    settings = {"access": {"rules_file": str(rules)}, "trusted_proxies": ["127.0.0.1"]}
    server = Server(folder / "registry", folder, settings)
    port = free_port()
    (folder / "moorage.conf").write_text(configuration(port, server.registry.host_port, certificate))
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(
        f"daemon off; error_log {folder}/error.log; pid {folder}/pid;\n"
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {' '.join(f'{name}_temp_path {folder}/{name};' for name in places)}\n"
        f"include {folder}/moorage.conf; }}\n"
    )
    daemon = Daemon([nginx, "-c", folder / "nginx.conf", "-p", folder], folder / "nginx.log")
    daemon.wait_until(lambda: accepts("127.0.0.1", port))
    yield Proxied(server, port, certificate)
    daemon.stop()
    server.stop()


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


def test_places_are_relative_and_lead_back_through_the_proxy(
    proxied: Proxied, connection: http.client.HTTPSConnection, repository: str
) -> None:
    location = proxied.begin(connection, repository)
    assert location.startswith(f"/v2/{repository}/blobs/uploads/")
    content = b"through nginx"
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
    while largest(proxied.server.root) < 8 << 20:
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
    with proxied.connect("127.0.0.2") as connection:
        said = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "mine", "User-Agent": "who asked"}
        connection.request("GET", "/v2/", headers=said)
        answer = connection.getresponse()
        answer.read()
    line = logged(proxied.server, "who asked")
    assert line["client"] == "127.0.0.2"
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", line["request_id"]), "nginx's own are twice as long as ours"


def test_a_long_head_is_refused_by_the_proxy(connection: http.client.HTTPSConnection) -> None:
    connection.request("GET", "/v2/", headers={"X-Long": "x" * 40_000})
    assert connection.getresponse().status == 400


def test_without_the_registry_clients_get_an_answer_that_they_can_read(
    proxied: Proxied, session_folder: Path
) -> None:
    folder = session_folder / "alone"
    folder.mkdir()
    port, nobody = free_port(), free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; error_log {folder}/error.log; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off; include {folder}/moorage.conf; }}\n"
    )
    (folder / "moorage.conf").write_text(configuration(port, f"127.0.0.1:{nobody}", proxied.certificate))
    daemon = Daemon([require("nginx"), "-c", folder / "nginx.conf", "-p", folder], folder / "nginx.log")
    try:
        daemon.wait_until(lambda: accepts("127.0.0.1", port))
        with Proxied(proxied.server, port, proxied.certificate).connect() as connection:
            connection.request("GET", "/v2/")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert json.loads(answer.read())["errors"][0]["code"] == "UNAVAILABLE"
    finally:
        daemon.stop()


def largest(root: Path) -> int:
    """The size of the largest file in a store, of those still being written too."""
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
        for line in server.log.splitlines():
            if words in line and '"http.request"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        sleep(0.02)
    raise AssertionError(f"{words} was not logged")
