"""A registry moves from a disk into a bucket while it serves, and from the bucket to another disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.api.contents import image
from tests.api.server import Server, moorage
from tests.e2e.buckets import serve, settings
from tests.e2e.engines import Engine
from tests.storage.buckets import Bucket, client_of


def test_from_a_disk_into_a_bucket_and_back(engine: Engine, scratch: Path) -> None:
    bucket = Bucket(client_of(engine.endpoint), "registries/moved")
    there = scratch / "bucket.yaml"
    there.write_text(json.dumps(settings(bucket, scratch)))
    disk, back = scratch / "data", scratch / "back"
    server = Server(disk, scratch)
    try:
        pushed = {
            name: server.repository(name).push(image([os.urandom(size)]), "v1")
            for name, size in (("team/small", 10), ("team/large", 20 << 20), ("other", 1000))
        }
        server.command("storage", "copy", "--to", str(there))
        pushed["late"] = server.repository("late").push(image(), "v1")
        assert server.repository("other").ask("DELETE", "manifests/v1").status == 202
        del pushed["other"]
        server.command("storage", "read-only", "on")
        done = json.loads(server.command("storage", "copy", "--to", str(there), "--json").out)
        assert done["last"] and done["removed"], done
    finally:
        server.stop()
    verified = moorage("storage", "verify", "--from", str(disk), "--to", str(there))
    assert "no differences" in verified.out

    moved = serve(bucket, scratch)
    try:
        for name, manifest in pushed.items():
            assert moved.repository(name).get("v1").body == manifest.data
            for blob in manifest.blobs:
                assert moved.repository(name).push_blob(blob)
        assert moved.repository("other").get("v1").status == 404
        moved.command("storage", "read-only", "on")
    finally:
        moved.stop()
    done = json.loads(moorage("storage", "copy", "--from", str(there), "--to", str(back), "--json").out)
    assert done["last"] and done["problems"] == []
    again = Server(back, scratch)
    try:
        for name, manifest in pushed.items():
            assert again.repository(name).get("v1").body == manifest.data
        again.repository("team/large").push(image(), "v2")
    finally:
        again.stop()
