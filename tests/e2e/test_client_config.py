"""`moorage client config`: what it prints has real clients pull other registries' images from here."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.client import Answer
from tests.api.people import Login, add_users, rules_file
from tests.api.server import Server
from tests.e2e.client import Client
from tests.e2e.containerd import pulled
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker, start
from tests.e2e.images import Image, NewImage, digest_of
from tests.e2e.mounts import MountSpace
from tests.e2e.wire import Wire
from tests.equipment import catalogue
from tests.equipment.absence import require, unavailable
from tests.equipment.catalogue import Missing

# Nobody pulls from the upstream: egress refuses this machine, and there is no other network.
MIRRORS = [
    {
        "name": "hub",
        "upstreams": [{"url": "http://localhost:9"}],
        "answers_for": ["docker.io"],
        "listen": "127.0.0.1:0",
    },
    {"name": "brought/quay", "answers_for": ["quay.example"]},
]
RULES = """\
- {who: anonymous, repositories: ['hub/**', 'brought/**', 'public/**'], may: [pull]}
- {who: user:pusher, repositories: ['**'], may: [pull, push, list]}
"""


@dataclass(frozen=True)
class Images:
    """One image of each kind, and what clients call it."""

    hub: Image
    quay: Image
    own: Image
    names: Mapping[str, str]

    @property
    def each(self) -> list[tuple[str, Image]]:
        return [(self.names[kind], getattr(self, kind)) for kind in self.names]


@dataclass(frozen=True)
class Served:
    """A server, where people log in and anybody pulls from the namespaces."""

    server: Server
    pusher: Login

    @property
    def host_port(self) -> str:
        return self.server.registry.host_port

    def files(self, client: str) -> dict[str, str]:
        """The files for a client, as the server says that they are to be."""
        told = re.search("below hub/ are pulled without that prefix from ([^ ]*) ", self.server.log)
        assert told is not None
        addresses = ("--url", f"http://{self.host_port}", "--mirror-url", told[1])
        found = json.loads(self.server.command("client", "config", client, *addresses, "--json").out)
        return {one["path"]: one["content"] for one in found["files"]}

    def only(self, client: str) -> str:
        (content,) = self.files(client).values()
        return content

    def push(self, new_image: NewImage) -> Images:
        """New images under new names."""
        name = f"box-{os.urandom(4).hex()}"
        wire = Wire(self.host_port, self.pusher.basic)
        images = Images(
            new_image(),
            new_image(),
            new_image(),
            {
                "hub": f"docker.io/library/{name}:1",
                "quay": f"quay.example/team/{name}:1",
                "own": f"{self.host_port}/public/{name}:1",
            },
        )
        wire.push(f"hub/library/{name}", images.hub, "1")
        wire.push(f"brought/quay/team/{name}", images.quay, "1")
        wire.push(f"public/{name}", images.own, "1")
        return images


@pytest.fixture(scope="module")
def served(module_folder: Path) -> Iterator[Served]:
    logins = add_users(module_folder / "data", ["pusher"])
    server = Server(
        module_folder / "data", module_folder, {**rules_file(module_folder, RULES), "mirrors": MIRRORS}
    )
    yield Served(server, logins["pusher"])
    server.stop()


def test_containerd_pulls_by_every_name(ctr: Client, served: Served, new_image: NewImage) -> None:
    hosts = ctr.scratch()
    for path, content in served.files("containerd").items():
        file = hosts / Path(path).relative_to("/etc/containerd/certs.d")
        file.parent.mkdir(parents=True)
        file.write_text(content)
    for name, image in served.push(new_image).each:
        ctr("images", "pull", "--hosts-dir", hosts, name)
        assert pulled(ctr, name) == image.digest


class ContainersSuite:
    """podman and skopeo, by the same file; inherited by one class per version."""

    @pytest.fixture
    def clients(self) -> Clients:
        raise NotImplementedError

    def client(self, clients: Clients, name: str, served: Served) -> Client:
        client = clients(name)
        file = client.scratch() / "registries.conf"
        file.write_text(served.only("podman"))
        if name == "skopeo":
            return replace(client, words=(*client.words, "--registries-conf", str(file)))
        return replace(client, environ={**client.environ, "CONTAINERS_REGISTRIES_CONF": str(file)})

    def test_podman_pulls_by_every_name(self, clients: Clients, served: Served, new_image: NewImage) -> None:
        podman = self.client(clients, "podman", served)
        for name, image in served.push(new_image).each:
            podman("pull", name)
            [found] = json.loads(podman("image", "inspect", name).out)
            assert found["Digest"] == image.digest
            assert name in found["RepoTags"]

    def test_skopeo_reads_by_every_name(self, clients: Clients, served: Served, new_image: NewImage) -> None:
        skopeo = self.client(clients, "skopeo", served)
        for name, image in served.push(new_image).each:
            # Not its tags, which it asks the other registry for itself.
            found = skopeo("inspect", "--no-tags", f"docker://{name}").out
            assert json.loads(found)["Digest"] == image.digest


class TestContainers(ContainersSuite):
    """Debian 12's."""

    @pytest.fixture
    def clients(self, containers: Clients) -> Clients:
        return containers

    def test_cri_o_reads_the_same(self, served: Served) -> None:
        assert served.files("crio") == served.files("podman")


@pytest.mark.other_client
class TestNewerContainers(ContainersSuite):
    """Debian 13's."""

    @pytest.fixture
    def clients(self, newer_containers: Clients) -> Clients:
        return newer_containers


@pytest.fixture
def place(session_folder: Path) -> Iterator[Path]:
    """A folder with a path short enough for a daemon's sockets."""
    folder = session_folder / os.urandom(2).hex()
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def daemon(
    place: Path, served: Served, programs: tuple[Path, Path], settings: Mapping[str, Any], root: Path | None
) -> Iterator[Docker]:
    """A docker daemon with our settings besides those that it needs here."""
    try:
        space = MountSpace(place, root)
    except Missing as problem:
        unavailable(problem)
    process, client = start(space, *programs, {**settings, **json.loads(served.only("docker"))})
    yield client
    process.stop()
    space.close()


@pytest.fixture
def docker20(place: Path, served: Served) -> Iterator[Docker]:
    programs = require("dockerd"), require("dockerd", "docker")
    yield from daemon(place, served, programs, {"storage-driver": "overlay2"}, None)


@pytest.fixture
def containerd_store(place: Path, served: Served) -> Iterator[Docker]:
    try:
        root = catalogue.folder(catalogue.load()["debian13"])
    except Missing as problem:
        unavailable(problem)
    programs = Path("/usr/sbin/dockerd"), Path("/usr/bin/docker")
    settings = {"features": {"containerd-snapshotter": True}}
    yield from daemon(place, served, programs, settings, root)


def test_docker_pulls_docker_hub_s_and_our_own(docker20: Docker, served: Served, new_image: NewImage) -> None:
    """Its scope names what it asked for; it has no token for the name that the registry knows."""
    images = served.push(new_image)
    name = images.names["hub"].removeprefix("docker.io/library/")
    docker20("pull", name)
    assert docker20.inspect(name)["Id"] == images.hub.config.digest
    docker20("pull", images.names["own"])
    assert docker20.inspect(images.names["own"])["Id"] == images.own.config.digest
    asked = [line for line in served.server.events("http.request") if line["listener"] == "mirror:hub"]
    assert {"/v2/", f"/v2/library/{name.replace(':', '/manifests/')}"} <= {line["path"] for line in asked}


def test_docker_keeps_its_login_for_docker_hub_to_itself(
    docker20: Docker, served: Served, new_image: NewImage
) -> None:
    """It has no other for a mirror, and would not be let in with that."""
    login = base64.b64encode(f"acme:{os.urandom(8).hex()}".encode()).decode()
    config = Path(docker20.environ["DOCKER_CONFIG"]) / "config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": login}}}))
    images = served.push(new_image)
    name = images.names["hub"].removeprefix("docker.io/library/")
    docker20("pull", name)
    assert docker20.inspect(name)["Id"] == images.hub.config.digest
    assert "acme" not in served.server.log


@pytest.mark.other_client
def test_docker_with_containerd_s_store_pulls_and_builds(
    containerd_store: Docker, served: Served, new_image: NewImage
) -> None:
    images = served.push(new_image)
    name = images.names["hub"].removeprefix("docker.io/library/")
    containerd_store("pull", name)
    assert images.hub.digest in containerd_store.inspect(name)["RepoDigests"][0]
    other = served.push(new_image)
    context = containerd_store.scratch()
    (context / "Dockerfile").write_text(f"FROM {other.names['hub'].removeprefix('docker.io/library/')}\n")
    containerd_store("buildx", "build", "--network=none", "--tag=built:1", "--load", context)
    built = containerd_store.inspect("built:1")["RootFS"]["Layers"]
    assert built == [digest_of(layer) for layer in other.hub.plain_layers]


def test_a_server_says_the_same_of_itself_to_who_may_list(served: Served) -> None:
    wanted = {"client": "containerd", "url": f"http://{served.host_port}"}
    headers = {"Content-Type": "application/json"}

    def asked(login: Mapping[str, str]) -> Answer:
        body = json.dumps(wanted).encode()
        return served.server.registry.ask("POST", "/api/v1/client/config", {**headers, **login}, body)

    told = asked(served.pusher.basic).json()["result"]["files"]
    assert {one["path"]: one["content"] for one in told} == served.files("containerd")
    assert asked({}).status == 401


def test_crane_needs_none(served: Served, new_image: NewImage, scratch: Path) -> None:
    crane = Client((str(require("crane")),), scratch)
    images = served.push(new_image)
    name = images.names["hub"].removeprefix("docker.io/library/")
    assert crane("digest", f"{served.host_port}/hub/library/{name}").out.strip() == images.hub.digest
