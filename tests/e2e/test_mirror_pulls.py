"""Real clients pull through a namespace: what was pulled once is there when the upstream is not any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.server import merged
from tests.e2e.buckets import redirects, settings
from tests.e2e.containers import Clients
from tests.e2e.engines import Engine
from tests.e2e.images import NewImage, index
from tests.e2e.mirrors import Mirror
from tests.e2e.pullers import EACH_TIME, NAMES, Podman, puller
from tests.e2e.registries import Registry
from tests.e2e.test_podman import load
from tests.storage.buckets import Bucket, client_of


@pytest.mark.parametrize(
    "client",
    [pytest.param(one, marks=[] if one in EACH_TIME else [pytest.mark.other_client]) for one in NAMES],
)
def test_what_was_pulled_once_stays(
    client: str,
    mirror: Callable[..., Mirror],
    library: str,
    new_image: NewImage,
    request: pytest.FixtureRequest,
) -> None:
    mirrored, arm64 = mirror(), new_image(architecture="arm64")
    indexes = {f"{library}-{what}": index(new_image(), arm64) for what in ("deleted", "kept")}
    for repository, both in indexes.items():
        mirrored.upstream.wire.push(repository, both, "1")
    deleted, kept = indexes
    with puller(client, mirrored, request) as hand:

        def pulls(repository: str) -> bool:
            image = indexes[repository].images[0]
            with mirrored.giving(image):
                right = hand.pull(repository, image)
            hand.forget(repository)
            return right

        assert pulls(deleted) and pulls(kept)
        mirrored.upstream.remove(deleted, indexes[deleted])
        assert pulls(deleted)
        mirrored.upstream.process.kill()
        assert pulls(kept)
    others = (arm64.layers[1], arm64.config, arm64.manifest)
    assert not any(mirrored.stored(content.digest) for content in others), "nobody runs that platform"


@pytest.mark.other_client
@pytest.mark.parametrize("client", EACH_TIME)
def test_what_was_pulled_once_comes_from_the_bucket(
    client: str,
    mirror: Callable[..., Mirror],
    library: str,
    new_image: NewImage,
    engine: Engine,
    scratch: Path,
    request: pytest.FixtureRequest,
) -> None:
    bucket, image = Bucket(client_of(engine.endpoint), "registries/mirror"), new_image()
    mirrored = mirror(more=merged(settings(bucket, scratch), redirects(engine)))
    mirrored.upstream.wire.push(library, image, "1")
    with puller(client, mirrored, request) as hand:
        for _ in range(2):
            with mirrored.giving(image):
                assert hand.pull(library, image)
            hand.forget(library)
    lines = mirrored.server.events("http.request")
    statuses = [one["status"] for one in lines if "/blobs/" in one["path"]]
    blobs = len(image.layers) + 1
    assert statuses == [200] * blobs + [307] * blobs


@pytest.mark.other_client
@pytest.mark.parametrize("client", ["docker", "ctr", "skopeo-new", "podman-new", "docker26"])
def test_a_broken_pull_goes_on_where_it_broke(
    client: str,
    mirror: Callable[..., Mirror],
    library: str,
    new_image: NewImage,
    request: pytest.FixtureRequest,
) -> None:
    mirrored, image = mirror(), new_image(random_bytes=24 << 20)
    mirrored.upstream.wire.push(library, image, "1")
    tap = mirrored.bound if client == "docker" else mirrored.registry.tap
    with puller(client, mirrored, request) as hand, Registry(tap, mirrored.wire).resuming():
        assert hand.pull(library, image)
        hand.forget(library)


@pytest.mark.other_client
def test_parts_of_a_layer_are_had_that_nobody_has_asked_for(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage, newer_containers: Clients
) -> None:
    """podman, which asks for several ranges at once, from the end of the layer first."""
    mirrored, image, podman = mirror(), new_image(), newer_containers("podman")
    there = f"{mirrored.upstream.wire.host_port}/{library}:1"
    load(podman, image, there)
    words = ("--compression-format=zstd:chunked", "--force-compression")
    podman("push", "--tls-verify=false", *words, there)
    podman("rmi", there)
    hand = Podman(podman, mirrored)
    with mirrored.registry.tap.watch() as seen:
        assert hand.pull(library, image)
    assert any("," in request.headers.get("range", "") for request in seen), [str(one) for one in seen]
    hand.forget(library)
