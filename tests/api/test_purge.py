"""A secret that was pushed is purged: its bytes are on no disk any more, and nobody can push it again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.api.conftest import Serve
from tests.api.contents import digest_of, image
from tests.folders import files_with
from tests.server.conftest import until


def test_a_secret_is_gone_from_the_disk_and_refused_in_each_way(serve: Serve, tmp_path: Path) -> None:
    near = tmp_path / "near"
    server = serve(settings={"cache": {"directory": str(near)}, "workers": 2})
    secret = os.urandom(40).hex().encode()
    layer = secret + os.urandom(3000)
    repository, other = server.repository("team/app"), server.repository("team/other")
    made = repository.push(image([layer]), "latest")
    other.push_blob(layer)
    other.push_blob(layer, "sha512")
    digest = digest_of(layer)
    assert repository.ask("GET", f"blobs/{digest}").body == layer
    until(lambda: files_with(secret, near), "the secret in the cache")
    places = (server.root, near)
    assert len(files_with(secret, *places)) == 3

    # By another process than those that serve, and that have the cache.
    done = server.command("trash", "purge", digest, "--reason", "a key in a layer", "--yes", "--json")
    result: dict[str, Any] = json.loads(done.out)
    assert result["needing"] == [
        {"repository": "team/app", "manifest": made.digest, "tags": ["latest"]},
    ]
    assert set(result["digests"]) == {digest, digest_of(layer, "sha512")}
    assert files_with(secret, *places) == []

    for one in result["digests"]:
        assert repository.ask("GET", f"blobs/{one}").refuses(404, "BLOB_UNKNOWN")
        assert repository.ask("HEAD", f"blobs/{one}").status == 404
        assert repository.close(repository.begin(), one, layer).refuses(403, "DENIED")
        assert repository.ask("POST", f"blobs/uploads/?digest={one}", (), layer).refuses(403, "DENIED")
        mounting = f"blobs/uploads/?mount={one}&from=team/other"
        assert repository.ask("POST", mounting).refuses(403, "DENIED")
    location = repository.begin()
    answer = repository.registry.ask("PATCH", location, (), layer)
    assert answer.status == 202
    assert repository.close(answer["Location"], digest).refuses(403, "DENIED")
    assert repository.put(made, "again").refuses(403, "DENIED")
    assert files_with(secret, *places) == [], "nor did any of that leave something"

    # The manifest that needs it is still there, for whoever cleans up.
    assert repository.get("latest").status == 200
    (purged,) = json.loads(server.command("trash", "purged", "--json").out)["blocked"]
    assert purged["reason"] == "a key in a layer"
    events = json.loads(server.command("audit", "list", "--json").out)["entries"]
    assert any(one["event"] == "trash.purged" and digest in one["detail"] for one in events)

    server.command("trash", "unblock", digest)
    until(lambda: repository.close(repository.begin(), digest, layer).status == 201, "the unblocked blob")
    # By another worker, too, which may notice later.
    until(lambda: repository.ask("GET", f"blobs/{digest}").body == layer, "the blob of every worker")


def test_a_purged_manifest_goes_with_its_tags(serve: Serve) -> None:
    server = serve()
    repository = server.repository("team/app")
    made = repository.push(image(), "latest")
    assert repository.get("latest").body == made.data, "so that a process has it in memory"
    server.command("trash", "purge", made.digest, "--yes")
    assert repository.get("latest").refuses(404, "MANIFEST_UNKNOWN")
    assert repository.get(made.digest).refuses(404, "MANIFEST_UNKNOWN")
    assert repository.put(made, "latest").refuses(403, "DENIED")
    assert files_with(made.data, server.root) == []
