"""A namespace of ours before an upstream that is a real registry, which tests take things from, or kill."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pytest

from tests.api.people import add_users, rules_file
from tests.api.server import Server, merged
from tests.certificates import self_signed
from tests.e2e.distribution import Distribution
from tests.e2e.images import Image, Index
from tests.e2e.registries import Registry
from tests.e2e.tap import Tap
from tests.e2e.wire import MANIFEST_TYPES, Wire

NAMESPACE = "hub"
HOST = "docker.io"
BOUND = re.compile(r"pulled without that prefix from http://(127\.0\.0\.1:[0-9]+)")
RULES = """\
- {who: user:owner, repositories: ['**'], may: [pull, push, delete, list]}
- {who: user:mirror, repositories: ['library/**'], may: [pull]}
"""


class Process(Protocol):
    """What an upstream runs in."""

    def kill(self) -> None:
        """kill -9."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry, as its owner sees it on the `wire`, and what a namespace has to know of it."""

    wire: Wire
    settings: Mapping[str, Any]
    process: Process

    def remove(self, repository: str, top: Image | Index) -> None:
        """Take an image away with all that it consists of."""
        kinds = {
            content.digest: "manifests" if content.media_type in MANIFEST_TYPES else "blobs"
            for content in reversed(top.contents)
        }
        # No blob may go that a manifest needs.
        for digest, kind in sorted(kinds.items(), key=lambda one: one[1], reverse=True):
            answer = self.wire.ask("DELETE", f"/v2/{repository}/{kind}/{digest}")
            assert answer.status == 202, answer
        assert self.wire.status(f"/v2/{repository}/manifests/1") == 404


@dataclass(frozen=True, slots=True)
class Mirror:
    """A server of ours with the namespace `hub`, and the upstream behind it.

    Clients talk to taps: before its listener, and before the one that is bound to the namespace.
    """

    server: Server
    registry: Registry
    bound: Tap
    upstream: Upstream

    @property
    def wire(self) -> Wire:
        """Asks the server past the tap."""
        return self.registry.wire

    def reference(self, repository: str, tag: str = "1") -> str:
        """By our own name, what the upstream calls `repository`; `tag` may be a digest."""
        return self.registry.reference(f"{NAMESPACE}/{repository}", tag)

    def place(self, digest: str) -> Path:
        """Where its store has the bytes of that digest, if it has."""
        algorithm, _, encoded = digest.partition(":")
        return self.server.root / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"

    def stored(self, digest: str) -> bool:
        """Whether its store has the bytes of that digest."""
        return self.place(digest).is_file()

    @contextlib.contextmanager
    def giving(self, image: Image) -> Iterator[None]:
        """Within it, a client must come for each blob of an image that other images have not."""
        with self.registry.tap.watch() as seen, self.bound.watch() as also:
            yield
        got = [one.target.partition("?")[0] for one in (*seen, *also) if one.method == "GET"]
        # The first layer is that of all images: an engine may have it from another test.
        for content in (*image.layers[1:], image.config):
            assert any(target.endswith(f"/blobs/{content.digest}") for target in got), got


def namespace(*upstreams: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The settings of a server with one namespace, which asks again whenever it is asked."""
    hub = {
        "name": NAMESPACE,
        "upstreams": [dict(one) for one in upstreams],
        "answers_for": [HOST],
        "listen": "127.0.0.1:0",
        "fresh_for": "0s",
        "absent_for": "0s",
        **more,
    }
    return {"mirrors": [hub], "egress": {"allow": ["127.0.0.0/8"]}}


NOTHING: Mapping[str, Any] = MappingProxyType({})
KINDS = ("distribution3", "distribution2", "moorage", "moorage-tokens")


@pytest.fixture
def upstream(distribution: Callable[..., Distribution], scratch: Path) -> Iterator[Callable[[str], Upstream]]:
    """Starts a registry of one of the kinds."""
    with contextlib.ExitStack() as stack:

        def start(kind: str) -> Upstream:
            folder = scratch / f"upstream-{os.urandom(4).hex()}"
            folder.mkdir()
            if kind.startswith("distribution"):
                other = distribution(int(kind[-1]), folder / "data")
                stack.callback(other.stop)
                return Upstream(Wire(other.host_port), {"url": other.url}, other)
            login, tls = {}, None
            settings: dict[str, Any] = {}
            told: dict[str, Any] = {}
            if kind == "moorage-tokens":
                logins = add_users(folder / "data", ["owner", "mirror"])
                pair = self_signed("upstream", hosts=("127.0.0.1",))
                listener = {"registry": {"tls": pair.write(folder)}}
                settings = merged(rules_file(folder, RULES), listener)
                (folder / "password").write_text(logins["mirror"].password)
                login, tls = logins["owner"].basic, ssl.create_default_context(cadata=pair.pem.decode())
                told = {
                    "username": "mirror",
                    "password_file": str(folder / "password"),
                    "ca_file": str(folder / "tls.crt"),
                }
            server = Server(folder / "data", folder, settings)
            stack.callback(server.stop)
            place = server.registry.host_port
            url = f"{'http' if tls is None else 'https'}://{place}"
            return Upstream(Wire(place, login, tls), {"url": url, **told}, server)

        yield start


@pytest.fixture
def mirror(upstream: Callable[[str], Upstream], scratch: Path) -> Iterator[Callable[..., Mirror]]:
    """Starts a server, with `more` settings, that has a namespace before an upstream of one of the kinds."""
    with contextlib.ExitStack() as stack:

        def start(kind: str = "distribution3", more: Mapping[str, Any] = NOTHING, **about: Any) -> Mirror:
            above = upstream(kind)
            if "username" in above.settings:
                about = {"repositories": ["library/**"], **about}
            folder = scratch / f"mirror-{os.urandom(4).hex()}"
            folder.mkdir()
            server = Server(folder / "data", folder, merged(namespace(above.settings, **about), more))
            stack.callback(server.stop)
            place, bound = server.registry.host_port, BOUND.findall(server.log)[0]
            registry = Registry(stack.enter_context(Tap(place)), Wire(place))
            return Mirror(server, registry, stack.enter_context(Tap(bound)), above)

        yield start


@pytest.fixture
def library() -> str:
    """A repository that no other test uses, by a name as Docker Hub has them."""
    return f"library/app-{os.urandom(4).hex()}"
