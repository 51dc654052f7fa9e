"""Clients that pull by the name that an upstream knows, each by its own way to a namespace of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker, asking_first
from tests.e2e.docker_suite import runs as runs_in_docker
from tests.e2e.images import Image
from tests.e2e.mirrors import HOST, Mirror
from tests.e2e.test_containerd import runs as runs_in_containerd
from tests.e2e.test_podman import runs as runs_in_podman
from tests.equipment.absence import require

PLATFORM = "--platform=linux/amd64"
REGISTRIES = """
[[registry]]
location = "{host}"
[[registry.mirror]]
location = "{place}/hub"
insecure = true
"""
HOSTS = """
server = "http://{place}"
[host."http://{place}"]
capabilities = ["pull", "resolve"]
"""


class Puller(Protocol):
    """One kind of client."""

    def pull(self, repository: str, image: Image) -> bool:
        """Pull the tag `1` of a repository at the upstream; whether it got that image."""

    def forget(self, repository: str) -> None:
        """Have nothing of it any more."""


class ByName:
    """Clients that copy into a folder and are told our own name."""

    def __init__(
        self, client: Client, mirror: Mirror, words: Callable[[str, Path], Sequence[object]]
    ) -> None:
        self._client = client
        self._mirror = mirror
        self._words = words

    def pull(self, repository: str, image: Image) -> bool:
        back = self._client.scratch()
        self._client(*self._words(self._mirror.reference(repository), back))
        return blobs(back) == {content.digest for content in image.contents}

    def forget(self, repository: str) -> None:
        """Each time it is another folder."""


class Skopeo:
    """skopeo, whose settings say who is asked first for Docker Hub's names."""

    def __init__(self, skopeo: Client, mirror: Mirror) -> None:
        self._skopeo = skopeo
        self._settings = settings(skopeo, mirror)

    def pull(self, repository: str, image: Image) -> bool:
        back = self._skopeo.scratch()
        option = ("--registries-conf", self._settings)
        self._skopeo(*option, "copy", f"docker://{HOST}/{repository}:1", f"oci:{back}:1")
        return blobs(back) == {content.digest for content in image.contents}

    def forget(self, repository: str) -> None:
        """Each time it is another folder."""


class Podman:
    """podman, with the same settings."""

    def __init__(self, podman: Client, mirror: Mirror) -> None:
        environ = {**podman.environ, "CONTAINERS_REGISTRIES_CONF": str(settings(podman, mirror))}
        self._podman = replace(podman, environ=environ)

    def pull(self, repository: str, image: Image) -> bool:
        self._podman("pull", f"{HOST}/{repository}:1")
        return runs_in_podman(self._podman, f"{HOST}/{repository}:1", image)

    def forget(self, repository: str) -> None:
        self._podman("rmi", "--force", f"{HOST}/{repository}:1")


class Ctr:
    """containerd, which says in each request whom it means."""

    def __init__(self, ctr: Client, mirror: Mirror) -> None:
        self._ctr = ctr
        self._hosts = ctr.scratch()
        (self._hosts / HOST).mkdir()
        (self._hosts / HOST / "hosts.toml").write_text(HOSTS.format(place=mirror.registry.host_port))

    def pull(self, repository: str, image: Image) -> bool:
        self._ctr("images", "pull", "--hosts-dir", self._hosts, f"{HOST}/{repository}:1")
        return runs_in_containerd(self._ctr, f"{HOST}/{repository}:1", image)

    def forget(self, repository: str) -> None:
        self._ctr("images", "rm", "--sync", f"{HOST}/{repository}:1")


class WithDocker:
    """docker, whose daemon asks others before Docker Hub."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def pull(self, repository: str, image: Image) -> bool:
        self._docker("pull", f"{repository}:1")
        return runs_in_docker(self._docker, f"{repository}:1", image)

    def forget(self, repository: str) -> None:
        self._docker("rmi", "--force", f"{repository}:1")


class WithBuildKit:
    """BuildKit inside docker, which builds on the image."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def pull(self, repository: str, image: Image) -> bool:
        context = self._docker.scratch()
        (context / "Dockerfile").write_text(f"FROM {repository}:1\nCOPY mark /mark\n")
        (context / "mark").write_text(repository)
        build = ("buildx", "build", "--network=none", "--provenance=false", "--load")
        self._docker(*build, "--tag", built(repository), context)
        return runs_in_docker(self._docker, built(repository), image)

    def forget(self, repository: str) -> None:
        self._docker("rmi", "--force", built(repository))
        self._docker("builder", "prune", "--all", "--force")


def built(repository: str) -> str:
    """What is built on an image."""
    return f"built/{repository}:1"


def settings(client: Client, mirror: Mirror) -> Path:
    """The file that tells skopeo or podman to ask a namespace before Docker Hub."""
    file = client.scratch() / "registries.conf"
    file.write_text(REGISTRIES.format(host=HOST, place=mirror.registry.host_port))
    return file


def blobs(folder: Path) -> set[str]:
    """The digests in an OCI layout."""
    return {f"{path.parent.name}:{path.name}" for path in folder.glob("blobs/*/*")}


# One client of each code base; the others run in `make soak`.
EACH_TIME = ("docker", "ctr", "skopeo", "crane")
NAMES = (*EACH_TIME, "skopeo-new", "podman", "podman-new", "oras", "docker26", "buildkit")


@contextmanager
def puller(name: str, mirror: Mirror, request: pytest.FixtureRequest) -> Iterator[Puller]:
    """A client by name, who knows the mirror."""
    kind, _, newer = name.partition("-")
    match kind:
        case "crane":
            crane: Client = request.getfixturevalue("crane")
            yield ByName(crane, mirror, lambda source, back: ("pull", PLATFORM, "--format=oci", source, back))
        case "oras":
            oras = Client((str(require("oras")),), request.getfixturevalue("scratch"))
            yield ByName(
                oras,
                mirror,
                lambda source, back: (
                    *("cp", PLATFORM, "--from-plain-http", "--to-oci-layout"),
                    *(source, f"{back}:1"),
                ),
            )
        case "ctr":
            yield Ctr(request.getfixturevalue("ctr"), mirror)
        case "skopeo" | "podman":
            clients: Clients = request.getfixturevalue("newer_containers" if newer else "containers")
            yield (Skopeo if kind == "skopeo" else Podman)(clients(kind), mirror)
        case "docker" | "docker26" | "buildkit":
            docker: Docker = request.getfixturevalue("docker" if kind == "docker" else "docker26")
            # The older one does not say whom it means.
            place = mirror.bound if kind == "docker" else mirror.registry
            with asking_first(docker, f"http://{place.host_port}"):
                yield (WithBuildKit if kind == "buildkit" else WithDocker)(docker)
        case _:
            raise AssertionError(f"nobody is called {name}")
