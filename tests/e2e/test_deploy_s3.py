"""deploy/s3: three servers, a balancer and a store come up as the file has them, by their own names."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from tests.api.server import moorage
from tests.e2e.docker import Docker, start
from tests.e2e.images import NewImage
from tests.e2e.mounts import MountSpace
from tests.e2e.packaging import base, context
from tests.e2e.processes import Result, run
from tests.equipment.absence import require, unavailable
from tests.equipment.catalogue import Missing

SHIPPED = Path(__file__).parents[2] / "deploy/s3"
PLACE = "localhost:5000"
DEADLINE_SECONDS = 90
Compose = Callable[..., Result]


@pytest.fixture(scope="module")
def docker(session_folder: Path) -> Iterator[Docker]:
    """A daemon with bridges and rules of its own, in a network of its own: nobody else is on its ports."""
    require("iproute2")
    programs = require("dockerd"), require("dockerd", "docker")
    folder = Path(tempfile.mkdtemp(prefix="net", dir=session_folder))
    try:
        space = MountSpace(folder, network=True)
    except Missing as problem:
        unavailable(problem)
    daemon, client = start(space, *programs, {"storage-driver": "overlay2"}, network=("--ip6tables=false",))
    yield client
    daemon.stop()
    space.close()


@pytest.fixture(scope="module")
def images(docker: Docker) -> None:
    """What the file names: our own as its head says, the others from the programs of this machine."""
    folder = context(docker)
    docker(
        *("build", "--network=none", f"--build-arg=BASE={base(docker)}", "--build-arg=WITH=s3"),
        *("--tag=moorage", f"--file={folder}/deploy/Dockerfile", folder),
    )
    haproxy, config = require("haproxy"), "/usr/local/etc/haproxy/haproxy.cfg"
    pack(docker, "haproxy:3.0", {haproxy: str(haproxy)}, [str(haproxy), "-W", "-db", "-f", config])
    programs = {require("versitygw"): "/app/versitygw", require("busybox"): "/bin/busybox"}
    pack(docker, "versity/versitygw:v1.8.0", programs, links={"/bin/sh": "busybox", "/bin/mkdir": "busybox"})


def pack(
    docker: Docker,
    name: str,
    programs: dict[Path, str],
    entrypoint: list[str] | None = None,
    links: dict[str, str] | None = None,
) -> None:
    """Make an image of programs, with the libraries that they want, and of links."""
    root = docker.scratch()
    for program, place in programs.items():
        libraries = re.findall(r"(/\S+) \(0x", run(["ldd", program], code=None).out)
        for source, target in [(str(program), place), *((one, one) for one in libraries)]:
            (root / target[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / target[1:])
    for link, target in (links or {}).items():
        (root / link[1:]).symlink_to(target)
    run(["tar", "--create", f"--file={root}.tar", "-C", root, "."])
    docker("import", f"--change=ENTRYPOINT {json.dumps(entrypoint or [])}", f"{root}.tar", name)


@pytest.fixture(scope="module")
def compose(docker: Docker, images: None) -> Iterator[Compose]:
    """The project, up."""
    folder = docker.scratch() / "s3"
    shutil.copytree(SHIPPED, folder)
    moorage("init", str(folder / "here"), "--url", f"http://{PLACE}")
    shutil.copy(folder / "here/seal.key", folder / "seal.key")
    shutil.chown(folder / "seal.key", 10001)
    (folder / "seal.key").chmod(0o400)
    keys = {"S3_ACCESS_KEY": "registry", "S3_SECRET_KEY": token_hex(16)}
    client = Docker(docker.words, docker.folder, {**docker.environ, **keys})

    def ask(*words: str, given: str = "", code: int | None = 0) -> Result:
        # The plugin is found in the client's own folder, which makes one of it.
        client.plugin(require("compose"), "compose", "version")
        return client("compose", f"--file={folder}/compose.yaml", *words, given=given, code=code)

    try:
        ask("up", "--no-build", "--pull", "never", "--detach")
        yield ask
    finally:
        print(ask("logs", "--no-color", "--tail=40", code=None).text)
        ask("down", "--volumes", code=None)


def until(met: Callable[[], bool], told: Callable[[], str]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not met():
        assert time.monotonic() < end, told()
        time.sleep(0.2)


def test_it_comes_up_as_it_stands_and_outlives_one_of_its_servers(
    compose: Compose, docker: Docker, new_image: NewImage
) -> None:
    def logs() -> str:
        return compose("logs", "--no-color", code=None).text

    password = token_hex(8)
    command = ("exec", "-T", "registry", "moorage", "user", "add", "admin", "--group", "admins")
    until(lambda: compose(*command, "--password-stdin", given=f"{password}\n", code=None).code == 0, logs)
    login = ("login", PLACE, "--username", "admin", "--password-stdin")
    until(lambda: docker(*login, given=password, code=None).code == 0, logs)
    image, reference = new_image(random_bytes=3 << 20), f"{PLACE}/team/app:1"
    docker.load(image, reference)
    digest = docker.push(reference)
    servers = compose("ps", "--quiet", "registry").out.split()
    assert len(servers) == 3

    def all_were_asked() -> bool:
        pulled(docker, reference)
        return all('"http.request"' in docker("logs", server).text for server in servers)

    until(all_were_asked, logs)
    # As the kernel ends it: what `docker kill` ends, the daemon would not start again.
    os.kill(int(docker("inspect", "--format={{.State.Pid}}", servers[0]).out), signal.SIGKILL)
    assert digest in pulled(docker, reference)
    until(lambda: docker("inspect", "--format={{.RestartCount}}", servers[0]).out.strip() == "1", logs)
    assert image.random_sha256 in docker("run", "--rm", "--network=none", reference).out


def pulled(docker: Docker, reference: str) -> str:
    """What docker says of a pull of what it has not."""
    docker("rmi", reference)
    return docker("pull", reference).out
