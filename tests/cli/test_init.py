from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from registry.access.rules import read_rules
from registry.config import check
from tests.api.server import moorage

pytestmark = pytest.mark.e2e

URL = "https://registry.example.com"


def test_it_begins_a_registry_that_can_be_served(tmp_path: Path) -> None:
    place = tmp_path / "moorage"
    made = moorage("init", str(place), "--url", URL, "--json")
    document = json.loads(made.out)
    assert (document["user"], len(document["password"]) >= 20) == ("admin", True)
    assert document["password"] not in made.err
    config = Path(document["config"])
    sound = check(config, {}, {})
    assert sound.resolved.config.url == URL and sound.policy.knows_people
    assert stat.S_IMODE((place / "seal.key").stat().st_mode) == 0o600
    assert read_rules(place / "access.yaml")
    kept = [path for path in (place / "data").rglob("*") if path.is_file()]
    assert not [path for path in kept if document["password"].encode() in path.read_bytes()]
    secret = [path.read_bytes() for path in kept if "secret" in path.parts]
    assert secret and all(one.startswith(b"sealed:") for one in secret)
    shown = json.loads(moorage("user", "list", "--config", str(config), "--json").out)
    assert [(user["name"], user["groups"]) for user in shown["users"]] == [("admin", ["admins"])]
    told = moorage("access", "explain", "user:admin", "delete", "a/b", "--config", str(config)).out
    assert re.fullmatch(r"user:admin \(in group:admins\) may delete a/b: access rule 1 .*\n", told)


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    refused = moorage("init", str(tmp_path), "--url", URL, code=3)
    assert "already" in refused.err and (tmp_path / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        (URL, "127.0.0.1:5000"),
        (f"{URL}:5443", "127.0.0.1:5000"),
        ("http://registry.example.com:5010", "127.0.0.1:5000"),
        ("http://localhost:5010", "127.0.0.1:5010"),
        ("http://[::1]:5010", "[::1]:5010"),
        ("http://localhost", "127.0.0.1:5000"),
    ],
)
def test_it_listens_where_the_url_says_if_nothing_can_stand_before_it(
    tmp_path: Path, url: str, listen: str
) -> None:
    document = json.loads(moorage("init", str(tmp_path / "m"), "--url", url, "--json").out)
    assert check(Path(document["config"]), {}, {}).resolved.config.registry.listen == listen


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--url", "registry"], 2),
        (["--url", URL, "--listen", "nonsense"], 2),
        (["--url", URL, "--root", "/proc/moorage"], 1),
    ],
)
def test_what_fails_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path, words: list[str], code: int
) -> None:
    failed = moorage("init", str(tmp_path / "m"), *words, code=code)
    assert "Traceback" not in failed.text
    assert [path for path in (tmp_path / "m").rglob("*") if path.is_file()] == []
    moorage("init", str(tmp_path / "m"), "--url", URL)


def test_plain_http_beyond_this_machine_is_warned_of(tmp_path: Path) -> None:
    assert "passwords cross" in moorage("init", str(tmp_path / "a"), "--url", "http://registry:5000").err
    assert "passwords cross" not in moorage("init", str(tmp_path / "b"), "--url", "http://127.0.0.1:5000").err
