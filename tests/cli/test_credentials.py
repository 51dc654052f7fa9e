"""Whose name and password go to a server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from registry.cli.credentials import Credentials, find
from registry.cli.exits import Refused


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def docker(folder: Path, document: object) -> dict[str, str]:
    """The environment of somebody with that configuration of docker's."""
    (folder / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return {"DOCKER_CONFIG": str(folder)}


def test_the_environment_comes_first(tmp_path: Path) -> None:
    environ = docker(tmp_path, {"auths": {"a": {"auth": encoded("bob:other")}}})
    found = find("a", None, {**environ, "MOORAGE_USERNAME": "alice", "MOORAGE_PASSWORD": "x:y"})
    assert (found.name, found.password) == ("alice", "x:y")
    assert found.header == f"Basic {encoded('alice:x:y')}"
    assert "x:y" not in repr(found)


@pytest.mark.parametrize(
    "environ",
    [
        {"MOORAGE_USERNAME": "alice"},
        {"MOORAGE_PASSWORD": "x"},
        {"MOORAGE_USERNAME": "a:b", "MOORAGE_PASSWORD": "x"},
    ],
    ids=["a name alone", "a password alone", "a name with a colon"],
)
def test_what_cannot_be_credentials_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(Refused):
        find("a", None, environ)


@pytest.mark.parametrize(
    ("key", "host", "port"),
    [
        ("registry.example", "registry.example", None),
        ("registry.example:5000", "registry.example", 5000),
        ("https://registry.example:5000", "registry.example", 5000),
        ("https://registry.example/v1/", "registry.example", None),
        ("[::1]:5000", "::1", 5000),
    ],
)
def test_a_login_of_docker_is_found_by_the_server_s_name(
    tmp_path: Path, key: str, host: str, port: int | None
) -> None:
    environ = docker(tmp_path, {"auths": {key: {"auth": encoded("alice:s:ecret")}}})
    found = find(host, port, environ)
    assert (found.name, found.password) == ("alice", "s:ecret")
    assert find(host, 5001, environ).header is None
    assert find("other.example", port, environ).header is None


def test_without_a_place_of_its_own_it_is_in_the_home(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    docker(tmp_path / ".docker", {"auths": {"a": {"auth": encoded("alice:x")}}})
    assert find("a", None, {"HOME": str(tmp_path)}).name == "alice"


@pytest.mark.parametrize(
    ("document", "advice"),
    [
        ({"credsStore": "pass", "auths": {"a": {}}}, "its credential helper (pass)"),
        ({"credHelpers": {"a": "osxkeychain"}, "auths": {}}, "its credential helper (osxkeychain)"),
        ({"auths": {"a": {"auth": encoded("x:"), "identitytoken": "canary"}}}, "an identity token for a"),
        ({"auths": {"a": {"auth": "canary!"}}}, "set MOORAGE_USERNAME"),
        ({"auths": {"a": {"auth": 7}}}, "set MOORAGE_USERNAME"),
        ({"auths": {"a": "canary"}}, "set MOORAGE_USERNAME"),
        ({"auths": []}, "set MOORAGE_USERNAME"),
        ([], "it is not what docker writes"),
        ("{", "it is not what docker writes"),
        ("", "it is not what docker writes"),
    ],
    ids=range(10),
)
def test_what_cannot_be_used_is_said_plainly(tmp_path: Path, document: object, advice: str) -> None:
    found = find("a", None, docker(tmp_path, document))
    assert found.header is None
    assert advice in found.advice
    assert "MOORAGE_USERNAME" in found.advice
    assert "canary" not in found.advice


def test_a_file_that_is_not_there_is_no_login(tmp_path: Path) -> None:
    found = find("a", None, {"DOCKER_CONFIG": str(tmp_path)})
    assert found == Credentials(advice="set MOORAGE_USERNAME and MOORAGE_PASSWORD")
    (tmp_path / "config.json").mkdir()
    assert "cannot be read" in find("a", None, {"DOCKER_CONFIG": str(tmp_path)}).advice
