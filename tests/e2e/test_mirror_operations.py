"""What operators do with mirrors: from the command line on the store, and asked of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.server import moorage
from tests.e2e.images import NewImage, index
from tests.e2e.mirrors import NAMESPACE, Mirror
from tests.server.conftest import until


def told(mirrored: Mirror, *words: str, code: int = 0, through_server: bool = False) -> Any:
    """The result of a command, as JSON."""
    door = ("--server", f"http://{mirrored.server.registry.host_port}") if through_server else ()
    if through_server:
        return json.loads(moorage(*words, *door, "--json", code=code).out)
    return json.loads(mirrored.server.command(*words, "--json", code=code).out)


def test_images_are_fetched_before_anybody_asks(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage, scratch: Path
) -> None:
    mirrored = mirror("moorage")
    pair = [new_image(architecture=name) for name in ("arm64", "amd64")]
    mirrored.upstream.wire.push(library, index(*pair), "1")
    alone = new_image()
    mirrored.upstream.wire.push(library, alone, "2")
    images = scratch / "images.txt"
    images.write_text(f"# what clusters run\n{NAMESPACE}/{library}:2\n")
    name = f"{NAMESPACE}/{library}:1"
    words = ("mirror", "prefetch", name, "--file", str(images), "--platform", "linux/amd64", "--json")
    done = mirrored.server.command(*words)
    fetched = json.loads(done.out)
    assert (fetched["images"], fetched["failures"]) == (2, [])
    *_, last = [json.loads(line)["progress"] for line in done.err.splitlines() if '"progress"' in line]
    assert last["done"] == last["total"] == fetched["size_bytes"] > 0
    mirrored.upstream.process.kill()
    for content in (*pair[1].contents, *alone.contents):
        assert mirrored.stored(content.digest)
    shared = {layer.digest for layer in pair[1].layers}
    assert not any(mirrored.stored(one.digest) for one in pair[0].contents if one.digest not in shared)
    for tag in ("1", "2"):
        assert mirrored.wire.status(f"/v2/{NAMESPACE}/{library}/manifests/{tag}") == 200
    failed = told(mirrored, "mirror", "prefetch", f"{NAMESPACE}/{library}:3", code=1, through_server=True)
    assert failed["failures"][0].startswith(f"{NAMESPACE}/{library}:3: ")


def test_a_namespace_is_mirrored_by_a_selection_and_its_deletes_are_followed(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage
) -> None:
    selection = {"repositories": [library], "tags": ["v*"], "delete": True}
    mirrored = mirror("moorage", sync=[selection])
    images = {tag: new_image(random_bytes=1000) for tag in ("v1", "v2", "other")}
    for tag, image in images.items():
        mirrored.upstream.wire.push(library, image, tag)
    names = {tag: f"{NAMESPACE}/{library}:{tag}" for tag in images}
    (rehearsed,) = told(mirrored, "mirror", "sync", "--dry-run")["namespaces"]
    assert sorted(rehearsed["moved"]) == [names["v1"], names["v2"]]
    assert not mirrored.stored(images["v1"].digest)
    (synced,) = told(mirrored, "mirror", "sync", NAMESPACE, "--yes", through_server=True)["namespaces"]
    assert (sorted(synced["moved"]), synced["failures"]) == ([names["v1"], names["v2"]], [])
    assert all(mirrored.stored(one.digest) for tag in ("v1", "v2") for one in images[tag].contents)
    assert not mirrored.stored(images["other"].digest)
    answer = mirrored.upstream.wire.ask("DELETE", f"/v2/{library}/manifests/v1")
    assert answer.status == 202
    (synced,) = told(mirrored, "mirror", "sync", "--yes")["namespaces"]
    assert (synced["moved"], synced["removed"]) == ([], [names["v1"]])
    # What was gone there can be had again here.
    mirrored.server.command("tag", "restore", f"{names['v1']}@{images['v1'].digest}")
    mirrored.upstream.process.kill()
    assert mirrored.wire.status(f"/v2/{NAMESPACE}/{library}/manifests/v1") == 200
    (state,) = told(mirrored, "mirror", "status", code=1)["upstreams"]
    assert (state["namespace"], state["answers"], state["cause"]) == (NAMESPACE, False, "unreachable")
    (synced,) = told(mirrored, "mirror", "sync", "--yes", code=1)["namespaces"]
    assert synced["removed"] == []


def test_a_selection_that_means_nothing_is_told(mirror: Callable[..., Mirror]) -> None:
    mirrored = mirror("moorage", sync=[{"repositories": ["nobody/*"]}])
    done = mirrored.server.command("mirror", "sync", "--yes", "--json")
    (note,) = [json.loads(line)["note"] for line in done.err.splitlines() if '"note"' in line]
    assert note.startswith(f"mirrors[].sync of {NAMESPACE} selects nothing: ")


def test_a_server_mirrors_by_itself(mirror: Callable[..., Mirror], library: str, new_image: NewImage) -> None:
    image = new_image(random_bytes=1000)
    mirrored = mirror("moorage", sync=[{"repositories": [library]}], sync_interval="1m")
    mirrored.upstream.wire.push(library, image, "1")
    until(lambda: bool(mirrored.server.events("mirror.synced")), "it has mirrored by itself")
    (synced, *_) = mirrored.server.events("mirror.synced")
    assert (synced["moved"], synced["failures"]) == (1, [])
    assert all(mirrored.stored(content.digest) for content in image.contents)


@pytest.mark.parametrize("through_server", [False, True])
def test_a_scrub_has_what_is_damaged_again_from_the_upstream(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage, through_server: bool
) -> None:
    mirrored = mirror("distribution3")
    image = new_image(random_bytes=3 << 20)
    mirrored.upstream.wire.push(library, image, "1")
    told(mirrored, "mirror", "prefetch", f"{NAMESPACE}/{library}:1")
    spoilt = (image.layers[-1], image.manifest)
    for content in spoilt:
        place = mirrored.place(content.digest)
        data = place.read_bytes()
        place.unlink()
        place.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    report = told(mirrored, "scrub", "run", "--yes", code=4, through_server=through_server)
    host = mirrored.upstream.wire.host_port
    assert {(one["content"], one["outcome"], one["source"]) for one in report["damaged"]} == {
        (content.digest, "fetched", host) for content in spoilt
    }
    mirrored.upstream.process.kill()
    assert mirrored.wire.ask("GET", f"/v2/{NAMESPACE}/{library}/manifests/1").body == image.manifest.data
    blob = f"/v2/{NAMESPACE}/{library}/blobs/{image.layers[-1].digest}"
    assert mirrored.wire.ask("GET", blob).body == image.layers[-1].data
    assert told(mirrored, "scrub", "run", "--yes")["damaged"] == []
