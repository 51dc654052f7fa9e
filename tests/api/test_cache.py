"""Pulls through a cache on the local disk: the same answers, also when what lies in either place changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.contents import digest_of, image
from tests.server.conftest import until

BLOB = bytes(range(256)) * 8192


def kept(near: Path) -> list[bytes]:
    """What lies in the cache, whole."""
    files = [path for path in near.rglob("*") if path.is_file() and not path.name.startswith(".tmp-")]
    return [path.read_bytes() for path in files]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_pulled_once_is_served_from_it(serve: Serve, tmp_path: Path, workers: int) -> None:
    near = tmp_path / "near"
    server = serve(settings={"cache": {"directory": str(near)}, "workers": workers})
    repository = server.repository("a/b")
    digest = repository.push_blob(BLOB)
    path = repository.path(f"blobs/{digest}")
    assert kept(near) == []
    assert repository.ask("GET", f"blobs/{digest}").body == BLOB
    until(lambda: kept(near) == [BLOB], "the blob in the cache")
    assert server.registry.ask("GET", path, {"Range": "bytes=5-9"}).body == BLOB[5:10]
    # Gone from the store and linked still: the cache has it.
    data = next(path for path in server.root.rglob("data") if path.read_bytes() == BLOB)
    data.unlink()
    assert server.registry.ask("GET", path).body == BLOB
    # Gone from the cache: so it is.
    shutil.rmtree(near)
    assert server.registry.ask("GET", path).refuses(404, "BLOB_UNKNOWN")
    assert repository.push_blob(BLOB) == digest
    assert server.registry.ask("GET", path).body == BLOB


def test_a_deleted_blob_is_not_served_from_it(serve: Serve, tmp_path: Path) -> None:
    server = serve(settings={"cache": {"directory": str(tmp_path / "near")}})
    repository = server.repository("a/b")
    digest = repository.push_blob(BLOB)
    assert repository.ask("GET", f"blobs/{digest}").body == BLOB
    until(lambda: kept(tmp_path / "near") == [BLOB], "the blob in the cache")
    assert repository.ask("DELETE", f"blobs/{digest}").status == 202
    assert repository.ask("GET", f"blobs/{digest}").refuses(404, "BLOB_UNKNOWN")
    assert server.repository("other").ask("GET", f"blobs/{digest}").refuses(404, "BLOB_UNKNOWN")


def test_damage_in_the_store_is_found_behind_it(serve: Serve, tmp_path: Path) -> None:
    server = serve(settings={"cache": {"directory": str(tmp_path / "near")}})
    repository = server.repository("a/b")
    repository.push(image([BLOB]), "v1")
    digest = digest_of(BLOB)
    assert repository.ask("GET", f"blobs/{digest}").body == BLOB
    until(lambda: BLOB in kept(tmp_path / "near"), "the blob in the cache")
    data = next(path for path in server.root.rglob("data") if path.read_bytes() == BLOB)
    data.write_bytes(os.urandom(len(BLOB)))
    checked = server.command("storage", "check", "--hash-blobs", code=4)
    assert digest_of(BLOB) in checked.out


def test_a_directory_within_the_store_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.stop()
    settings = {"cache": {"directory": str(tmp_path / "data" / "near")}}
    with pytest.raises(AssertionError, match=r"must be apart from storage\.root"):
        serve(settings=settings)
