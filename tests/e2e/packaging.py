"""Our own image: its build context, the base it is built on, and containers of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.bundles.kit import SHARED
from tests.e2e.docker import Docker
from tests.e2e.processes import run
from tests.equipment import catalogue
from tests.equipment.absence import unavailable
from tests.equipment.catalogue import Missing

CHECKOUT = Path(__file__).parents[2]
CONTEXT = (*SHARED, ".dockerignore", "registry", "requirements", "storage")
# Of Debian's packages, what Python runs without: the image is pushed, pulled and compressed again and again.
NOT_NEEDED = (
    *("dev/*", "var/cache", "var/lib/apt", "var/lib/dpkg", "usr/share/[!p]*", "usr/share/perl*"),
    *("usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/lib/*/gconv", "usr/bin/perl*"),
)
LISTENS = re.compile(r"listens on http://(\S+) \(")
EVERYBODY = "MOORAGE_ACCESS_RULES_FILE=/etc/moorage/everybody.yaml"
# What a container needs that shares the machine's network: ports that the kernel chooses, on loopback.
ON_LOOPBACK = (
    "--network=host",
    "--env=MOORAGE_REGISTRY_LISTEN=127.0.0.1:0",
    "--env=MOORAGE_OPS_LISTEN=127.0.0.1:0",
)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of our image that runs until it is stopped."""

    docker: Docker
    name: str

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.docker("logs", self.name).text

    def inspect(self, what: str) -> str:
        """One field of what the daemon knows of it."""
        return self.docker("inspect", f"--format={{{{{what}}}}}", self.name).out.strip()

    def runs(self, *command: str) -> str:
        """What a command inside of it prints."""
        return self.docker("exec", self.name, *command).out

    def stop(self) -> int:
        """Stop it as the daemon does; its exit code."""
        self.docker("stop", "--time=30", self.name)
        return int(self.inspect(".State.ExitCode"))


def base(docker: Docker, tool: str = "image-base") -> str:
    """The base image: Debian with Python, and the wheels, since pip in a build can reach no index here."""
    try:
        tools = catalogue.load()
        root = catalogue.folder(tools[tool])
        wheels = [catalogue.folder(tools[name]) for name in ("image", "image-s3")]
    except Missing as problem:
        unavailable(problem)
    folder = docker.scratch()
    (folder / "more/etc").mkdir(parents=True)
    (folder / "more/etc/pip.conf").write_text("[install]\nno-index = true\nfind-links = /wheels\n")
    for one in wheels:
        shutil.copytree(one, folder / "more/wheels", dirs_exist_ok=True)
    archive = folder / "base.tar"
    without = (f"--exclude=./{name}" for name in NOT_NEEDED)
    more = ("-C", folder / "more", "./etc/pip.conf", "./wheels")
    run(["tar", "--create", f"--file={archive}", *without, "-C", root, ".", *more])
    docker("import", archive, name := tool.replace("image", "moorage", 1))
    shutil.rmtree(folder)
    return name


def context(docker: Docker) -> Path:
    """What a build is given: the files that an image is made of, and three that must not get into it."""
    folder = docker.scratch()
    for name in CONTEXT:
        source = CHECKOUT / name
        if source.is_dir():
            # Other tests may be writing there what Python compiles.
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / "deploy/s3/seal.key").write_text("secret")
    (folder / "data").mkdir()
    (folder / "data/secret").write_text("secret")
    (folder / "registry/__pycache__").mkdir()
    (folder / "registry/__pycache__/__init__.cpython-311.pyc").write_bytes(b"compiled")
    return folder


@dataclass(frozen=True, slots=True)
class Packaged:
    """The image `moorage` in a daemon."""

    docker: Docker

    def start(self, *options: str, command: tuple[str, ...] = ()) -> Container:
        """Start a container; whoever does so stops it."""
        name = self.docker("run", "--detach", *options, "moorage", *command).out.strip()
        return Container(self.docker, name)


@pytest.fixture(scope="session")
def packaged(docker: Docker) -> Iterator[Packaged]:
    """The image, built as docs/running.md says but for its base."""
    folder = context(docker)
    docker(
        *("build", f"--build-arg=BASE={base(docker)}", "--tag=moorage"),
        *(f"--file={folder}/deploy/Dockerfile", folder),
    )
    yield Packaged(docker)
    for container in docker("ps", "--all", "--quiet", "--filter=ancestor=moorage").out.split():
        docker("rm", "--force", "--volumes", container)
