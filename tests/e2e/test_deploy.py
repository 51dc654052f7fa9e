"""What lies in deploy/: the image is built, started and pushed into itself; compose and systemd agree."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep

import pytest

from tests.access.slapd import Slapd, person
from tests.api.people import Login, token
from tests.api.registry import Registry
from tests.api.server import moorage
from tests.e2e.docker import Docker
from tests.e2e.packaging import EVERYBODY, LISTENS, ON_LOOPBACK, Container, Packaged, base, context, packaged
from tests.e2e.processes import run
from tests.e2e.wire import Wire
from tests.equipment.absence import require

__all__ = ["packaged"]

DEPLOY = Path(__file__).parents[2] / "deploy"
ASK = (
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 5000); c.request('GET', '/v2/');"
    "print(c.getresponse().status)"
)
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@contextmanager
def running(packaged: Packaged, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container, stopped at the end."""
    container = packaged.start(*options, command=command)
    try:
        yield container
    finally:
        container.stop()


def until(probe: Callable[[], str], container: Container, deadline_seconds: float = 60) -> str:
    """The first answer that is not empty."""
    end = monotonic() + deadline_seconds
    while not (found := probe()):
        assert monotonic() < end and container.inspect(".State.Running") == "true", container.log
        sleep(0.05)
    return found


def address(container: Container) -> str:
    """Where a container says that it listens."""
    return until(lambda: (LISTENS.findall(container.log) or [""])[0], container)


def health(container: Container) -> str:
    """What the daemon has found out about a container by its health check; empty while it has not."""
    return container.inspect(".State.Health.Status").removeprefix("starting")


def files_in(docker: Docker, image: str, folder: str) -> set[str]:
    """The files below a folder of an image."""
    return set(docker("run", "--rm", "--network=none", "--entrypoint=find", image, folder).out.split())


def test_without_rules_it_says_what_to_do_and_ends(packaged: Packaged) -> None:
    ended = packaged.docker("run", "--rm", "--network=none", "moorage", code=3)
    assert "{who: anonymous" in ended.err and "MOORAGE_ACCESS_RULES_FILE" in ended.err


def test_it_runs_as_nobody_and_is_healthy(packaged: Packaged) -> None:
    with running(packaged, "--network=none", f"--env={EVERYBODY}", "--health-interval=1s") as container:
        assert until(lambda: health(container), container) == "healthy"
        assert container.runs("python", "-c", ASK) == "200\n"
        assert container.runs("id", "-u").strip() == "10001"
        assert json.loads(container.runs("moorage", "repo", "list", "--json"))["repositories"] == []
        assert container.stop() == 0


def test_its_health_check_fails_when_nothing_answers(packaged: Packaged) -> None:
    options = (
        f"--env={EVERYBODY}",
        "--health-interval=1s",
        "--health-retries=1",
        "--health-start-period=1ms",
    )
    with running(
        packaged, "--network=none", "--env=MOORAGE_OPS_LISTEN=127.0.0.1:5999", *options
    ) as container:
        assert until(lambda: health(container), container) == "unhealthy"


def test_it_is_compiled_and_has_no_installer(packaged: Packaged) -> None:
    names = files_in(packaged.docker, "moorage", "/opt/moorage")
    # Nobody may write there, so what is not compiled would be compiled at every start.
    assert any(re.search(r"/registry/app/__pycache__/__init__\.cpython-3\d+\.pyc$", name) for name in names)
    assert not any("/bin/pip" in name or "/site-packages/pip" in name for name in names)


def test_only_the_program_is_sent_to_the_daemon(packaged: Packaged) -> None:
    folder = context(packaged.docker)
    (folder / "Dockerfile").write_text("FROM moorage-base\nCOPY . /context\n")
    packaged.docker("build", "--tag=context", folder)
    names = files_in(packaged.docker, "context", "/context")
    assert "/context/registry/app/__init__.py" in names
    assert "/context/deploy/systemd/moorage.service" in names
    strange = ("data", "tests", "__pycache__", ".key")
    assert not any(one in name for name in names for one in strange)


def test_it_holds_itself(packaged: Packaged) -> None:
    """The image's first content is the image; another daemon of the same kind then has nothing to upload."""
    docker = packaged.docker
    options = (*ON_LOOPBACK, f"--env={EVERYBODY}", *HARDENED)
    with running(packaged, *options, command=("serve", "--workers", "2")) as container:
        place = address(container)
        reference = f"{place}/infrastructure/moorage:1"
        docker("tag", "moorage", reference)
        digest = docker.push(reference)
        docker("rmi", reference)
        assert Wire(place).manifest("infrastructure/moorage", "1").digest == digest
        assert len(Wire(place).whole("infrastructure/moorage", "1")) > 4

        docker("pull", reference)
        assert docker("run", "--rm", "--network=none", reference, "version").out.startswith("moorage ")
        docker("kill", "--signal=HUP", container.name)
        until(lambda: "server.renewed" * ("server.renewed" in container.log), container)
        assert Wire(place).status("/v2/") == 200

        # Deleting is not among what everybody may do.
        assert Wire(place).status(f"/v2/infrastructure/moorage/manifests/{digest}", "DELETE") == 403
        docker("rmi", reference)
        assert container.stop() == 0


def test_another_daemon_builds_it_and_runs_what_the_first_one_pushed(
    packaged: Packaged, docker26: Docker
) -> None:
    """Built by BuildKit too; then pulled from a container of the other build, and run."""
    folder = context(docker26)
    docker26(
        *("build", "--network=none", f"--build-arg=BASE={base(docker26)}", "--tag=moorage"),
        *(f"--file={folder}/deploy/Dockerfile", folder),
    )
    built = docker26("run", "--rm", "--network=none", "moorage", "version").out
    with running(packaged, *ON_LOOPBACK, f"--env={EVERYBODY}") as container:
        reference = f"{address(container)}/moorage:classic"
        packaged.docker("tag", "moorage", reference)
        packaged.docker.push(reference)
        docker26("pull", reference)
        assert docker26("run", "--rm", "--network=none", reference, "version").out == built
        packaged.docker("rmi", reference)


@pytest.mark.other_client
def test_with_ldap_it_asks_a_directory_and_has_no_compiler_of_its_own(
    packaged: Packaged, tmp_path: Path
) -> None:
    docker = packaged.docker
    folder = context(docker)
    base_of = f"--build-arg=BASE={base(docker, 'image-base-ldap')}"
    docker(
        *("build", base_of, "--build-arg=WITH=s3 ldap", "--tag=moorage-ldap"),
        *(f"--file={folder}/deploy/Dockerfile", folder),
    )
    names = files_in(docker, "moorage-ldap", "/opt/moorage")
    assert any(Path(name).match("site-packages/_ldap*.so") for name in names)
    assert any(Path(name).match("site-packages/boto3/__init__.py") for name in names)
    assert not any("/site-packages/setuptools" in name or "/site-packages/pip" in name for name in names)
    with running_slapd(tmp_path) as slapd:
        alice = Login("alice", token_hex())
        slapd.add(person(alice.name, userPassword=alice.password))
        place = settings_for(docker, {"access": {"ldap": slapd.settings(), "rules_file": "rules.yaml"}})
        without = docker("run", "--rm", "--network=none", *place, "moorage", "config", "check", code=None)
        assert without.code and "--build-arg WITH=ldap" in without.err
        name = docker("run", "--detach", *ON_LOOPBACK, *HARDENED, *place, "moorage-ldap").out.strip()
        container = Container(docker, name)
        try:
            registry = Registry(address(container))
            assert token(registry, alice, "repository:a:pull").status == 200
            assert token(registry, Login("alice", "wrong"), "repository:a:pull").status == 401
        finally:
            container.stop()


@contextmanager
def running_slapd(folder: Path) -> Iterator[Slapd]:
    """A directory server on loopback."""
    server = Slapd(require("slapd"), folder)
    try:
        yield server
    finally:
        server.stop()


def settings_for(docker: Docker, settings: dict[str, object]) -> tuple[str, ...]:
    """What gives a container these settings, and rules for who is logged in."""
    folder = docker.scratch()
    folder.chmod(0o755)
    (folder / "rules.yaml").write_text("- {who: authenticated, repositories: ['**'], may: [pull]}\n")
    storage = {"storage": {"root": "/var/lib/moorage"}}
    (folder / "config.yaml").write_text(json.dumps({**storage, **settings}))
    return f"--volume={folder}:/etc/here:ro", "--env=MOORAGE_CONFIG=/etc/here/config.yaml"


def test_compose_takes_it_up_as_it_stands(packaged: Packaged) -> None:
    """With the shipped file; only the network, which this daemon does not have, and the pace are others."""
    docker = packaged.docker
    folder = docker.scratch()
    (folder / "here.yaml").write_text(
        "services: {registry: {network_mode: none, ports: !reset [], healthcheck: {interval: 1s}}}\n"
    )
    files = (f"--file={DEPLOY}/compose.yaml", f"--file={folder}/here.yaml", "--project-name=itself")

    def compose(*words: str) -> str:
        return docker.plugin(require("compose"), "compose", *files, *words).out

    try:
        compose("up", "--no-build", "--detach", "--wait")
        assert compose("exec", "-T", "registry", "python", "-c", ASK) == "200\n"
    finally:
        compose("down", "--volumes")


def test_three_servers_on_a_bucket_are_told_what_they_take(tmp_path: Path) -> None:
    """The file as compose reads it; the registry and the balancer read what it gives them."""
    environ = {**os.environ, "S3_ACCESS_KEY": token_hex(4), "S3_SECRET_KEY": token_hex()}
    file = DEPLOY / "s3/compose.yaml"
    command = (require("compose"), "--file", file, "config", "--format", "json")
    project = json.loads(run(command, environ=environ).out)
    assert project["services"]["registry"]["deploy"]["replicas"] == 3
    # A service that is read-only takes files alone.
    files = {name: Path(one["file"]) for name, one in project["configs"].items()}
    (tmp_path / "rules.yaml").write_text(files["rules"].read_text())
    (tmp_path / "seal.key").write_bytes(b64encode(os.urandom(32)))
    (tmp_path / "seal.key").chmod(0o600)
    config = re.sub("/etc/moorage/|/run/secrets/", f"{tmp_path}/", files["moorage"].read_text())
    (tmp_path / "config.yaml").write_text(config)
    moorage("config", "check", "--config", str(tmp_path / "config.yaml"))
    run([require("haproxy"), "-c", "-f", files["balancer"]])


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = require("systemd", "systemd-analyze")
    unit = (DEPLOY / "systemd/moorage.service").read_text()
    program = "/opt/moorage/.venv/bin/moorage"
    assert program in unit
    # This machine has neither the program nor its user.
    here = unit.replace(program, "/usr/bin/env").replace("=moorage\n", "=root\n")
    (tmp_path / "moorage.service").write_text(here)
    told = run([analyze, "verify", "--man=no", tmp_path / "moorage.service"])
    assert told.text.strip() == ""
    run([analyze, "security", "--offline=true", "--threshold=20", "--no-pager", tmp_path / "moorage.service"])
