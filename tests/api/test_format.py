"""A store that a newer program has taken over: read, never written, and the exit codes say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.store import layout
from tests.api.conftest import Serve
from tests.api.contents import image
from tests.api.server import Server, configuration, moorage

NEWER = '{"oldest_writer": 99}'


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a store with one image, whose format a newer program has raised."""
    folder = tmp_path_factory.mktemp("newer")
    server = Server(folder / "data", folder)
    try:
        server.repository("team/app").push(image(), "1.0")
    finally:
        server.stop()
    (server.root / layout.FORMAT).write_text(NEWER)
    config = folder / "config.yaml"
    config.write_text(json.dumps(configuration(server.root, {})))
    return config


def store(config: Path) -> Path:
    return Path(json.loads(config.read_text())["storage"]["root"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_not_served_for_writing(taken_over: Path, workers: str) -> None:
    ended = moorage("serve", "--config", str(taken_over), "--workers", workers, code=3)
    assert "level 99" in ended.text
    assert "`read_only: true`" in ended.text
    assert "Traceback" not in ended.text


def test_it_is_served_for_reading(taken_over: Path, serve: Serve) -> None:
    repository = serve(store(taken_over), {"read_only": True}).repository("team/app")
    assert repository.get("1.0").status == 200
    assert repository.ask("POST", "blobs/uploads/").refuses(503, "UNAVAILABLE")


@pytest.mark.parametrize(
    "words",
    [
        "repo list",
        "repo show team/app",
        "tag list team/app",
        "storage check",
        "storage adopt --dry-run",
        "storage leave",
        "tag delete team/app:1.0 --dry-run",
    ],
)
def test_what_only_reads_goes_on(taken_over: Path, words: str) -> None:
    moorage(*words.split(), "--config", str(taken_over), code=0)


@pytest.mark.parametrize(
    "words",
    [
        "repo delete team/app --yes",
        "tag delete team/app:1.0 --yes",
        "storage reindex",
        "storage adopt",
        "storage upgrade",
        "storage read-only on",
        "storage read-only off",
        "user disable alice",
    ],
)
def test_what_writes_is_refused_with_the_reason(taken_over: Path, words: str) -> None:
    ended = moorage(*words.split(), "--config", str(taken_over), code=3)
    assert "level 99" in ended.text
    assert (store(taken_over) / layout.FORMAT).read_text() == NEWER
    assert not (store(taken_over) / layout.READ_ONLY).exists()
