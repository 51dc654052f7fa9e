"""docker compose as a plugin: takes a project up from the registry, pushes it, and publishes it whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests.e2e.docker import Docker
from tests.e2e.guarded import Guarded, is_refusal, logged_in
from tests.e2e.images import NewImage
from tests.e2e.processes import Result
from tests.e2e.registries import Registry
from tests.equipment.absence import require

pytestmark = pytest.mark.other_client
Compose = Callable[..., Result]


@pytest.fixture
def compose(docker: Docker) -> Compose:
    """Runs docker compose on a project that it writes down first."""
    folder = docker.scratch()

    def run(project: dict[str, object], *arguments: str, code: int | None = 0) -> Result:
        (folder / "compose.yaml").write_text(json.dumps({"name": "t" + folder.name.lower(), **project}))
        return docker.plugin(
            require("compose"), "compose", "--project-directory", folder, *arguments, code=code
        )

    return run


def test_takes_a_project_up(
    compose: Compose, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image = new_image()
    registry.wire.push(repository, image, "1")
    project = {"services": {"one": {"image": registry.reference(repository), "network_mode": "none"}}}
    compose(project, "pull")
    try:
        assert image.random_sha256 in compose(project, "up", "--no-color").out  # it ends with its container
    finally:
        compose(project, "down")


def test_builds_and_pushes_a_project(
    compose: Compose, docker: Docker, registry: Registry, repository: str, new_image: NewImage
) -> None:
    registry.wire.push(f"{repository}/base", new_image(), "1")
    context = docker.scratch()
    (context / "Dockerfile").write_text(f"FROM {registry.reference(f'{repository}/base')}\nCOPY mark /mark\n")
    (context / "mark").write_text(os.urandom(8).hex())
    service = {"image": registry.reference(repository), "build": str(context), "network_mode": "none"}
    compose({"services": {"one": service}}, "build")
    compose({"services": {"one": service}}, "push")
    assert len(registry.wire.whole(repository, "1")) == 5
    with registry.uploading_nothing():
        compose({"services": {"one": service}}, "push")


def test_publishes_a_project(
    compose: Compose, registry: Registry, repository: str, new_image: NewImage
) -> None:
    registry.wire.push(f"{repository}/image", new_image(), "1")
    service = {"image": registry.reference(f"{repository}/image"), "network_mode": "none"}
    options = ("--yes", "--insecure-registry")
    compose({"services": {"one": service}}, "publish", *options, registry.reference(repository))
    found = registry.wire.manifest(repository, "1").fields
    assert found["artifactType"] == "application/vnd.docker.compose.project"
    registry.wire.whole(repository, "1")
    [project, *_] = found["layers"]
    assert service["image"].encode() in registry.wire.blob(repository, project["digest"])


def test_pulls_builds_and_pushes_what_is_private_with_dockers_login(
    compose: Compose, docker: Docker, guarded: Guarded, repository: str, new_image: NewImage
) -> None:
    image, base = new_image(), f"team/{repository}/base"
    guarded.wire.push(base, image, "1")
    pulled = {"services": {"one": {"image": guarded.reference(base), "network_mode": "none"}}}
    assert is_refusal(compose(pulled, "pull", code=None))
    context = docker.scratch()
    (context / "Dockerfile").write_text(f"FROM {guarded.reference(base)}\nCOPY mark /mark\n")
    (context / "mark").write_text(os.urandom(8).hex())
    own, tags = f"team/{repository}", ("1", "2")
    common = {"build": str(context), "network_mode": "none"}
    services = {"services": {f"s{tag}": {"image": guarded.reference(own, tag), **common} for tag in tags}}
    with logged_in(docker, guarded, guarded.puller):
        compose(pulled, "pull")
        compose(services, "build")
        assert is_refusal(compose(services, "push", code=None))
    assert guarded.digest(own) is None
    with logged_in(docker, guarded, guarded.pusher):
        compose(services, "push")
    for tag in tags:
        guarded.wire.whole(own, tag)
