"""A registry that knows people, and clients that log in to it, each in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.api.people import Login, add_key, add_users, rules_file
from tests.api.registry import Registry
from tests.api.server import Server
from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker
from tests.e2e.images import Image, write_archive, write_layout
from tests.e2e.processes import Result
from tests.e2e.wire import Wire
from tests.equipment.absence import require

RULES = """\
- {who: anonymous, repositories: ['public/**'], may: [pull]}
- {who: user:pusher, repositories: ['**'], may: [pull, push, list]}
- {who: user:puller, repositories: ['team/**', 'public/**'], may: [pull]}
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The registry, and who may log in: `pusher`, `puller` (to pull), and a machine's `key` for `team/**`."""

    server: Server
    pusher: Login
    puller: Login
    key: Login

    @property
    def registry(self) -> Registry:
        """As the tests ask it."""
        return self.server.registry

    @property
    def host_port(self) -> str:
        """As clients name it."""
        return self.registry.host_port

    @property
    def wire(self) -> Wire:
        """As the pusher sees what it holds."""
        return Wire(self.host_port, self.pusher.basic)

    def reference(self, repository: str, tag: str = "1") -> str:
        """The name that a client gives to an image here."""
        return f"{self.host_port}/{repository}:{tag}"

    def digest(self, repository: str, tag: str = "1") -> str | None:
        """What a tag names, looked at by somebody who may; None where there is no such tag."""
        answer = self.registry.ask("HEAD", f"/v2/{repository}/manifests/{tag}", self.pusher.basic)
        return answer["Docker-Content-Digest"] if answer.status == 200 else None


@pytest.fixture(scope="session")
def guarded(session_folder: Path) -> Iterator[Guarded]:
    """The registry that the tests of logging in share."""
    folder = session_folder / "guarded"
    folder.mkdir()
    logins = add_users(folder / "data", ["pusher", "puller"])
    server = Server(folder / "data", folder, rules_file(folder, RULES))
    key = add_key(server, "ci", "--repositories", "team/**", "--may", "pull,push")
    yield Guarded(server, logins["pusher"], logins["puller"], key)
    server.stop()


class Hand(Protocol):
    """One kind of client: how it logs in, pushes an image and pulls it again."""

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        """Log in for the requests that follow."""

    def logout(self, host_port: str) -> None:
        """Forget the credentials."""

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        """Push an image."""

    def pull(self, reference: str, code: int | None = 0) -> Result:
        """Pull an image, of which nothing is there."""


class DockerHand:
    """docker, with either image store."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        return self._docker(
            "login", "--username", login.name, "--password-stdin", host_port, given=login.password, code=code
        )

    def logout(self, host_port: str) -> None:
        self._docker("logout", host_port)

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        self._docker.load(image, reference)
        return self._docker("push", reference, code=code)

    def pull(self, reference: str, code: int | None = 0) -> Result:
        self._docker("rmi", "--force", reference, code=None)
        return self._docker("pull", reference, code=code)


class PodmanHand:
    """podman and buildah."""

    def __init__(self, podman: Client) -> None:
        self._podman = podman

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        return self._podman(
            *("login", "--tls-verify=false", "--username", login.name, "--password-stdin", host_port),
            given=login.password,
            code=code,
        )

    def logout(self, host_port: str) -> None:
        self._podman("logout", host_port, code=None)

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        archive = write_archive(image, self._podman.scratch() / "image.tar", reference)
        self._podman("pull", f"docker-archive:{archive}")
        return self._podman("push", "--tls-verify=false", reference, code=code)

    def pull(self, reference: str, code: int | None = 0) -> Result:
        self._podman("rmi", "--force", reference, code=None)
        return self._podman("pull", "--tls-verify=false", reference, code=code)


class SkopeoHand:
    """skopeo."""

    def __init__(self, skopeo: Client) -> None:
        self._skopeo = skopeo

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        return self._skopeo(
            *("login", "--tls-verify=false", "--username", login.name, "--password-stdin", host_port),
            given=login.password,
            code=code,
        )

    def logout(self, host_port: str) -> None:
        self._skopeo("logout", host_port, code=None)

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        layout = write_layout(image, self._skopeo.scratch())
        return self._skopeo(
            "copy", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{reference}", code=code
        )

    def pull(self, reference: str, code: int | None = 0) -> Result:
        back = self._skopeo.scratch()
        return self._skopeo(
            "copy", "--src-tls-verify=false", f"docker://{reference}", f"oci:{back}:1", code=code
        )


class CtrHand:
    """containerd's own client, which sends credentials with each command, as kubelet does."""

    def __init__(self, ctr: Client) -> None:
        self._ctr = ctr
        self._words: tuple[str, ...] = ()

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        self._words = ("--user", f"{login.name}:{login.password}")
        return Result(code or 0, "", "")

    def logout(self, host_port: str) -> None:
        self._words = ()

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        self._ctr("images", "import", write_archive(image, self._ctr.scratch() / "image.tar", reference))
        return self._ctr("images", "push", "--plain-http", *self._words, reference, code=code)

    def pull(self, reference: str, code: int | None = 0) -> Result:
        self._ctr("images", "remove", "--sync", reference, code=None)
        return self._ctr("images", "pull", "--plain-http", *self._words, reference, code=code)


class CraneHand:
    """crane."""

    def __init__(self, crane: Client) -> None:
        self._crane = crane

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        # It believes what it is given, and finds out with the first request.
        return self._crane(
            "auth", "login", host_port, "--username", login.name, "--password-stdin", given=login.password
        )

    def logout(self, host_port: str) -> None:
        self._crane("auth", "logout", host_port, code=None)

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        return self._crane("push", write_layout(image, self._crane.scratch()), reference, code=code)

    def pull(self, reference: str, code: int | None = 0) -> Result:
        return self._crane("pull", "--format=oci", reference, self._crane.scratch(), code=code)


class OrasHand:
    """oras."""

    def __init__(self, oras: Client) -> None:
        self._oras = oras

    def login(self, host_port: str, login: Login, code: int | None = 0) -> Result:
        return self._oras(
            *("login", "--plain-http", "--username", login.name, "--password-stdin", host_port),
            given=login.password,
            code=code,
        )

    def logout(self, host_port: str) -> None:
        self._oras("logout", host_port, code=None)

    def push(self, image: Image, reference: str, code: int | None = 0) -> Result:
        layout = write_layout(image, self._oras.scratch())
        return self._oras("copy", "--from-oci-layout", "--to-plain-http", f"{layout}:1", reference, code=code)

    def pull(self, reference: str, code: int | None = 0) -> Result:
        back = self._oras.scratch()
        return self._oras("copy", "--from-plain-http", "--to-oci-layout", reference, f"{back}:1", code=code)


@contextmanager
def logged_in(docker: Docker, guarded: Guarded, login: Login) -> Iterator[None]:
    """Within it docker, and what runs as its plugin, has somebody's credentials."""
    hand = DockerHand(docker)
    hand.login(guarded.host_port, login)
    try:
        yield
    finally:
        hand.logout(guarded.host_port)


# What clients print who are refused.
REFUSALS = (
    "unauthorized",
    "denied",
    "401",
    "403",
    "authentication required",
    "authorization failed",
    "incorrect",
    "invalid username",
)


def is_refusal(told: Result) -> bool:
    """Whether a client has failed since it was refused, and has said so."""
    return told.code != 0 and any(word in told.text.lower() for word in REFUSALS)


# How each is had from the fixtures of this folder.
HANDS: dict[str, Callable[[pytest.FixtureRequest], Hand]] = {
    "docker": lambda request: DockerHand(request.getfixturevalue("docker")),
    "docker26": lambda request: DockerHand(request.getfixturevalue("docker26")),
    "ctr": lambda request: CtrHand(request.getfixturevalue("ctr")),
    "skopeo": lambda request: SkopeoHand(_container(request, "containers", "skopeo")),
    "skopeo-new": lambda request: SkopeoHand(_container(request, "newer_containers", "skopeo")),
    "podman": lambda request: PodmanHand(_container(request, "containers", "podman")),
    "podman-new": lambda request: PodmanHand(_container(request, "newer_containers", "podman")),
    "buildah": lambda request: PodmanHand(_container(request, "containers", "buildah")),
    "crane": lambda request: CraneHand(
        Client((str(require("crane")), "--insecure"), request.getfixturevalue("scratch"))
    ),
    "oras": lambda request: OrasHand(Client((str(require("oras")),), request.getfixturevalue("scratch"))),
}
# One client of each code base; the others run in `make soak`.
EACH_TIME = ("docker", "ctr", "skopeo", "crane")


def _container(request: pytest.FixtureRequest, fixture: str, name: str) -> Client:
    clients: Clients = request.getfixturevalue(fixture)
    return clients(name)
