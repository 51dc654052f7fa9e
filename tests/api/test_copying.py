"""A registry moves: its store is copied while it serves, and another server serves the copy."""

from __future__ import annotations

import json
import os
import socket
from base64 import b64encode
from pathlib import Path

from tests.api.conftest import Serve
from tests.api.contents import image
from tests.api.server import moorage


def test_a_registry_is_moved_while_it_serves(serve: Serve, tmp_path: Path) -> None:
    old, new = serve(), tmp_path / "new"
    repository = old.repository("team/app")
    first = repository.push(image([b"a layer"]), "v1")

    told = moorage("storage", "copy", "--from", str(old.root), "--to", str(new))
    assert "the source takes writes: copy again" in told.out
    second = repository.push(image([b"another layer"]), "v1")
    refused = moorage("storage", "verify", "--from", str(old.root), "--to", str(new), code=4)
    assert "the bytes are others" in refused.out

    old.command("storage", "read-only", "on")
    done = old.command("storage", "copy", "--to", str(new), "--json")
    assert json.loads(done.out)["last"] is True
    assert "no differences" in old.command("storage", "verify", "--to", str(new)).out
    assert "no problems" in moorage("storage", "check", "--root", str(new), "--hash-blobs").out

    moved = serve(root=new).repository("team/app")
    assert moved.get("v1").body == second.data
    assert moved.get(first.digest).body == first.data
    moved.push(image([b"a third layer"]), "v2")
    assert moved.tags() == ["v1", "v2"]


def test_places_that_are_none_are_refused_and_nothing_is_made(tmp_path: Path) -> None:
    there = tmp_path / "there"
    for words in (
        ("--from", str(tmp_path / "missing"), "--to", str(there)),
        ("--from", "none.yaml", "--to", "x"),
    ):
        assert "there is no" in moorage("storage", "copy", *words, code=3).err
    assert list(tmp_path.iterdir()) == []


def test_which_of_the_two_has_failed_is_told(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.repository("a").push(image(), "v1")
    source, target = str(server.root), tmp_path / "target"
    (target / "_moorage/v1").mkdir(parents=True)
    (target / "_moorage/v1/read-only").touch()
    (target / "docker").touch()  # where a directory belongs
    failed = moorage("storage", "copy", "--from", source, "--to", str(target), code=1)
    assert failed.err.startswith(f"moorage: the target, {target}: the key is a path prefix of another")
    refused = moorage("storage", "copy", "--from", source, "--to", source, code=3)
    assert f"the source is {source}, the target {source}" in refused.err
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        (tmp_path / "key").write_text(os.urandom(8).hex())
        (tmp_path / "key").chmod(0o600)
        keys = {"access_key_file": "key", "secret_key_file": "key"}
        s3 = {"bucket": "registry", "region": "us-east-1", "endpoint": endpoint, **keys}
        (tmp_path / "s3.json").write_text(json.dumps({"storage": {"driver": "s3", "s3": s3}}))
        words = ("--from", str(tmp_path / "s3.json"), "--to", source)
        failed = moorage("storage", "verify", *words, code=1)
    assert failed.err.startswith(
        f"moorage: the source, s3://registry at {endpoint}: the store cannot be reached"
    )


def test_secrets_are_not_copied_to_where_they_could_not_be_read(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.repository("a").push(image(), "v1")
    for name in ("one", "other"):
        (tmp_path / f"{name}.key").write_bytes(b64encode(os.urandom(32)))
        (tmp_path / f"{name}.key").chmod(0o600)
        storage, access = {"root": str(tmp_path / name)}, {"seal_key_file": f"{name}.key"}
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"storage": storage, "access": access}))
    to, source = tmp_path / "one.yaml", str(server.root)
    refused = moorage("storage", "copy", "--from", source, "--to", str(to), "--with-secrets", code=3)
    assert "not sealed by the same access.seal_key_file" in refused.err
    moorage("storage", "copy", "--from", source, "--to", str(to))
    other = str(tmp_path / "other.yaml")
    refused = moorage("storage", "copy", "--from", str(to), "--to", other, "--with-secrets", code=3)
    assert "name the configuration files" in refused.err
    moorage("storage", "copy", "--from", source, "--to", str(tmp_path / "third"), "--with-secrets")
