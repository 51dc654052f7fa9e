"""Credentials that clients keep elsewhere: identity tokens in docker's helper, headers in hosts.toml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client, bare
from tests.e2e.docker import Docker
from tests.e2e.docker_suite import runs
from tests.e2e.guarded import Guarded
from tests.e2e.images import NewImage, write_archive
from tests.e2e.processes import run
from tests.equipment.absence import require


@pytest.fixture
def keeping(docker: Docker, scratch: Path) -> Iterator[Docker]:
    """docker that keeps its logins in `pass`, encrypted by a key made for the test."""
    helper, pass_, gpg = require("docker-credential-pass"), require("pass"), require("pass", "gpg")
    home = scratch / "home"
    home.mkdir(mode=0o700)
    path = f"{helper.parent}:{pass_.parent}:{bare(home)['PATH']}"
    environ = {**bare(home), "PATH": path, "GNUPGHOME": str(home), "PASSWORD_STORE_DIR": str(home / "store")}
    run(
        [gpg, "--batch", "--passphrase", "", "--quick-generate-key", "tests", "default", "default", "never"],
        environ=environ,
    )
    run([pass_, "init", "tests"], environ=environ)
    (home / "config.json").write_text(json.dumps({"credsStore": "pass"}))
    yield Docker(
        docker.words,
        docker.folder,
        {**docker.environ, **environ, "DOCKER_CONFIG": str(home)},
    )
    # What gpg has started in the background for it.
    run([gpg.with_name("gpgconf"), "--kill", "all"], environ=environ)


def test_docker_keeps_an_identity_token_and_no_password(
    keeping: Docker, guarded: Guarded, repository: str, new_image: NewImage
) -> None:
    image, reference = new_image(), guarded.reference(f"team/{repository.replace('/', '-')}")
    login = guarded.pusher
    keeping("login", "--username", login.name, "--password-stdin", guarded.host_port, given=login.password)
    kept = run(
        [require("docker-credential-pass"), "get"],
        environ={**bare(keeping.folder), **keeping.environ},
        given=guarded.host_port,
    ).out
    assert json.loads(kept)["Username"] == "<token>" and login.password not in kept
    assert json.loads(kept)["Secret"].startswith("moorage.identity.")
    keeping.load(image, reference)
    keeping.push(reference)
    keeping("rmi", "--force", reference)
    keeping("pull", reference)
    assert runs(keeping, reference, image)
    guarded.server.command("access", "logout", f"user:{login.name}", "--yes")
    keeping("rmi", "--force", reference)
    assert keeping("pull", reference, code=None).code != 0, "revoked"


def test_containerd_pulls_as_a_kubernetes_node_does(
    ctr: Client, guarded: Guarded, repository: str, new_image: NewImage, scratch: Path
) -> None:
    """With the credentials in a hosts.toml, as nodes have them without pull secrets."""
    image, name = new_image(), f"team/{repository.replace('/', '-')}"
    reference = guarded.reference(name)
    ctr("images", "import", write_archive(image, ctr.scratch() / "image.tar", reference))
    login = guarded.pusher
    ctr("images", "push", "--plain-http", "--user", f"{login.name}:{login.password}", reference)
    ctr("images", "remove", "--sync", reference)
    hosts = ctr.scratch() / guarded.host_port
    hosts.mkdir()
    (hosts / "hosts.toml").write_text(
        f'server = "http://{guarded.host_port}"\n'
        f'[host."http://{guarded.host_port}"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        f'  [host."http://{guarded.host_port}".header]\n'
        f'    Authorization = "{guarded.puller.basic["Authorization"]}"\n'
    )
    refused = ctr("images", "pull", "--plain-http", reference, code=None)
    assert refused.code != 0
    ctr("images", "pull", "--hosts-dir", hosts.parent, reference)
