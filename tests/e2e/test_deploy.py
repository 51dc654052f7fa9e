"""What lies in deploy/: the image is built, started and pushed into itself; compose and systemd agree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.e2e.docker import Docker
from tests.e2e.packaging import EVERYBODY, LISTENS, ON_LOOPBACK, Container, Packaged, base, context, packaged
from tests.e2e.processes import run
from tests.e2e.wire import Wire
from tests.equipment.absence import require
from tests.equipment.catalogue import find_program

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
    assert any(re.search(r"/registry/__pycache__/app\.cpython-3\d+\.pyc$", name) for name in names)
    assert not any("/bin/pip" in name or "/site-packages/pip" in name for name in names)


def test_only_the_program_is_sent_to_the_daemon(packaged: Packaged) -> None:
    folder = context(packaged.docker)
    (folder / "Dockerfile").write_text("FROM moorage-base\nCOPY . /context\n")
    packaged.docker("build", "--tag=context", folder)
    names = files_in(packaged.docker, "context", "/context")
    assert "/context/registry/app.py" in names
    assert not any("data" in name or "tests" in name or "__pycache__" in name for name in names)


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


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = find_program("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    unit = (DEPLOY / "systemd/moorage.service").read_text()
    program = "/opt/moorage/.venv/bin/moorage"
    assert program in unit
    # This machine has neither the program nor its user.
    here = unit.replace(program, "/usr/bin/env").replace("=moorage\n", "=root\n")
    (tmp_path / "moorage.service").write_text(here)
    told = run([analyze, "verify", "--man=no", tmp_path / "moorage.service"])
    assert told.text.strip() == ""
    run([analyze, "security", "--offline=true", "--threshold=20", "--no-pager", tmp_path / "moorage.service"])
