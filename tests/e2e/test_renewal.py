"""An upgrade without a pause: the files of the program are replaced, and HUP makes the server the new one."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import __version__
from tests.api.contents import digest_of
from tests.api.registry import Registry, closing
from tests.api.server import CHECKOUT, Server
from tests.e2e.workers import Line, lines, workers

RULES = "- {{who: anonymous, repositories: ['{repositories}'], may: [pull, push]}}\n"
OPS = re.compile(r"metrics and health: http://([^)]+)\)")


@pytest.fixture
def installed(scratch: Path) -> Path:
    """The program, somewhere where it can be replaced."""
    for package in ("registry", "storage"):
        shutil.copytree(
            CHECKOUT / package, scratch / "lib" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return scratch / "lib"


@pytest.fixture
def rules(scratch: Path) -> Path:
    """Access rules: everybody may pull and push."""
    file = scratch / "access.yaml"
    file.write_text(RULES.format(repositories="**"))
    return file


@pytest.fixture
def server(installed: Path, rules: Path, scratch: Path) -> Iterator[Server]:
    """Two workers of it."""
    here = ("env", f"--chdir={installed}", f"PYTHONPATH={installed}")
    server = Server(
        scratch / "root", scratch, {"workers": 2, "access": {"rules_file": str(rules)}}, wrapper=here
    )
    while server.log.count('"server.started"') < 2:
        pass
    yield server
    server.stop()


def renewed(server: Server, times: int) -> None:
    """Wait until it has been renewed so often, and only the new workers are left."""
    while server.log.count('"server.renewed"') < times or len(workers(server)) != 2:
        pass


def versions(server: Server) -> list[str]:
    """The versions that its processes say they are of."""
    text = Registry(OPS.findall(server.log)[-1]).ask("GET", "/metrics").body.decode()
    return re.findall(r'moorage_build_info\{version="([^"]+)"\}', text)


def test_new_code_and_new_rules_count_and_the_upload_goes_on(
    server: Server, installed: Path, rules: Path
) -> None:
    data = os.urandom(3 << 20)
    before: list[Line] = lines([server])
    location = before[0].ask("POST", "/v2/a/blobs/uploads/")["Location"]
    assert server.registry.ask("POST", "/v2/b/blobs/uploads/").status == 202
    with before[0].connect() as connection:
        connection.begin("PATCH", location, {"Content-Length": str(len(data))})
        connection.send(data[: 1 << 20])
        init = installed / "registry/__init__.py"
        init.write_text(init.read_text().replace('__version__ = "', '__version__ = "9.'))
        rules.write_text(RULES.format(repositories="a"))
        os.kill(server.pid, signal.SIGHUP)
        while '"server.renewed"' not in server.log:
            assert '"renewal.refused"' not in server.log, server.log[-1500:]
        # The old worker still receives what it was being sent.
        connection.send(data[1 << 20 :])
        assert connection.answer().status == 202
    renewed(server, 1)
    while versions(server) != [f"9.{__version__}"]:
        pass
    assert server.registry.ask("PUT", closing(location, digest_of(data))).status == 201
    assert server.registry.ask("POST", "/v2/b/blobs/uploads/").status == 403


@pytest.mark.parametrize("wrong", ["rules", "code"])
def test_a_mistake_leaves_everything_as_it_is(
    server: Server, installed: Path, rules: Path, wrong: str
) -> None:
    file = rules if wrong == "rules" else installed / "registry/cli/commands.py"
    sound = file.read_text()
    file.write_text("this is neither: [")
    alive = workers(server)
    os.kill(server.pid, signal.SIGHUP)
    while '"renewal.refused"' not in server.log:
        pass
    assert file.name in server.log.partition('"renewal.refused"')[2]
    assert workers(server) == alive
    assert server.registry.ask("GET", "/v2/").status == 200
    file.write_text(sound)
    os.kill(server.pid, signal.SIGHUP)
    renewed(server, 1)
    assert server.registry.ask("GET", "/v2/").status == 200


def put(file: Path, text: str) -> None:
    """Exchange a file, also a pipe, for one with a text."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.parametrize("wrong", ["settings", "rules"])
def test_what_is_spoilt_after_it_was_checked_ends_nobody(
    server: Server, rules: Path, scratch: Path, wrong: str
) -> None:
    """The program that finds it so has the sockets and the old workers already."""
    settings = next(scratch.glob("moorage-*.yaml"))
    file = rules if wrong == "rules" else settings
    written, sound = settings.read_text(), file.read_text()
    alive = workers(server)
    # Whoever checks waits for us to write, as does the program after them; nobody else finds a pipe.
    checking, beginning = scratch / "checking", scratch / "beginning"
    for pipe in (checking, beginning):
        os.mkfifo(pipe)
        os.link(pipe, pipe.with_suffix(".link"))
    checking.with_suffix(".link").replace(settings)
    os.kill(server.pid, signal.SIGHUP)
    with open(checking, "w") as checked:
        if wrong == "rules":
            beginning.with_suffix(".link").replace(settings)
        else:
            put(settings, "this is neither: [")
        checked.write(written)
    if wrong == "rules":
        with open(beginning, "w") as begun:
            put(rules, "this is neither: [")
            put(settings, written)
            begun.write(written)
    while '"renewal.refused"' not in server.log:
        assert set(alive) <= set(workers(server)), server.log[-1500:]
    assert file.name in server.log.partition('"renewal.refused"')[2]
    assert server.registry.ask("GET", "/v2/").status == 200
    if wrong == "rules":
        # Workers read them for themselves: new ones cannot start, and the old ones stay.
        while '"worker.died"' not in server.log:
            pass
        assert set(alive) <= set(workers(server))
        file.write_text(sound)
    # With the settings of before.
    renewed(server, 1)
    assert server.registry.ask("GET", "/v2/").status == 200
    file.write_text(sound)
    os.kill(server.pid, signal.SIGHUP)
    renewed(server, 2)
    assert server.registry.ask("GET", "/v2/").status == 200
