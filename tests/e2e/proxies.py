"""The reverse proxies whose configuration we ship, started as it is but for names, ports and places."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import Daemon, accepts, free_port
from tests.equipment.absence import require

# In nginx's format, in Caddy's (JSON), and in HAProxy's.
STATUS = re.compile(r'(?:" |"status":|(?:/-?\d+){3} )(\d{3})[ ,]')
# What takes root to do, and the system's log.
HAPROXY_AS_A_SERVICE = (
    "    log /dev/log local0\n    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n"
)
DEPLOY = Path(__file__).parents[2] / "deploy"
_LEAF = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
_NAME = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy with TLS on localhost."""

    port: int
    certificate: Path
    daemon: Daemon
    access_log: Path

    @property
    def statuses(self) -> Counter[int]:
        """How often it answered what, by its own access log."""
        lines = self.access_log.read_text().splitlines()
        return Counter(int(found[1]) for line in lines if (found := STATUS.search(line)))

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


@dataclass(frozen=True, slots=True)
class Place:
    """What one proxy is started with: a folder of its own, a port, and the servers behind it."""

    folder: Path
    port: int
    upstreams: Sequence[str]
    certificate: Path

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"

    @property
    def key(self) -> Path:
        return self.certificate.with_suffix(".key")


Command = Callable[[Place], list[str | Path]]


def nginx(place: Place) -> list[str | Path]:
    """nginx: the shipped file is included by one that says what a distribution's does."""
    folder = place.folder
    servers = "".join(f"    server {upstream} max_fails=0;\n" for upstream in place.upstreams)
    (folder / "moorage.conf").write_text(
        shipped(
            "nginx/moorage.conf",
            ("    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen 127.0.0.1:{place.port} ssl;\n"),
            ("    server 127.0.0.1:5000 max_fails=0;\n", servers),
            ("server_name registry.example.com;", "server_name localhost;"),
            ("/etc/nginx/tls/registry.example.com.crt", str(place.certificate)),
            ("/etc/nginx/tls/registry.example.com.key", str(place.key)),
        )
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; error_log {folder}/error.log; pid {folder}/pid;\n"
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; events {{}}\n"
        f"http {{ access_log {place.access_log}; {temporary}\n"
        f"include {folder}/moorage.conf; }}\n"
    )
    return [require("nginx"), "-c", folder / "nginx.conf", "-p", folder]


def caddy(place: Place) -> list[str | Path]:
    """Caddy: without its port 80 and its port for administration."""
    log = f"\tlog {{\n\t\toutput file {place.access_log}\n\t}}\n"
    (place.folder / "Caddyfile").write_text(
        shipped(
            "caddy/Caddyfile",
            ("\tservers {\n", "\tadmin off\n\tauto_https disable_redirects\n\tservers {\n"),
            ("registry.example.com {\n", f"https://localhost:{place.port} {{\n\tbind 127.0.0.1\n{log}"),
            ("reverse_proxy 127.0.0.1:5000 {", f"reverse_proxy {' '.join(place.upstreams)} {{"),
            ("/etc/caddy/tls/registry.example.com.crt", str(place.certificate)),
            ("/etc/caddy/tls/registry.example.com.key", str(place.key)),
        )
    )
    own = ("env", f"XDG_DATA_HOME={place.folder}", f"XDG_CONFIG_HOME={place.folder}")
    return [*own, require("caddy"), "run", "--config", place.folder / "Caddyfile", "--adapter", "caddyfile"]


def haproxy(place: Place) -> list[str | Path]:
    """HAProxy, which wants chain and key in one file."""
    pem = place.folder / "localhost.pem"
    pem.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    servers = "".join(f"    server s{number} {one}\n" for number, one in enumerate(place.upstreams))
    (place.folder / "haproxy.cfg").write_text(
        shipped(
            "haproxy/haproxy.cfg",
            ("bind :443", f"bind 127.0.0.1:{place.port}"),
            (HAPROXY_AS_A_SERVICE, "    log stdout format raw local0\n"),
            ("/etc/haproxy/tls/registry.example.com.pem", str(pem)),
            ("    server first 127.0.0.1:5000\n", servers),
        )
    )
    return [require("haproxy"), "-db", "-f", place.folder / "haproxy.cfg"]


PROXIES: dict[str, Command] = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


def shipped(name: str, *changes: tuple[str, str]) -> str:
    """A file of deploy/ with what it says is to be changed; all else stays as it is."""
    text = (DEPLOY / name).read_text()
    for there, here in changes:
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    return text


def certificate(folder: Path) -> Path:
    """A new certificate for localhost, its key beside it."""
    made = folder / "localhost.crt"
    files = ("-keyout", str(made.with_suffix(".key")), "-out", str(made))
    subprocess.run(["openssl", *_LEAF, *_NAME, *files], check=True, capture_output=True)
    return made


@contextlib.contextmanager
def running(kind: str, folder: Path, upstreams: Sequence[str]) -> Iterator[Proxy]:
    """One of them in front of the servers at these host:ports, ended at the end."""
    folder.mkdir()
    place = Place(folder, free_port(), upstreams, certificate(folder))
    # HAProxy has no file to write to; what it is told to log goes where its messages go.
    log = place.access_log if kind == "haproxy" else folder / f"{kind}.log"
    daemon = Daemon(PROXIES[kind](place), log)
    try:
        daemon.wait_until(lambda: accepts("127.0.0.1", place.port))
        yield Proxy(place.port, place.certificate, daemon, place.access_log)
    finally:
        daemon.stop()
