"""A mirror that holds too much: operators pin, and evict or have it done; the store is whole behind it."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.images import Image, NewImage
from tests.e2e.mirrors import NAMESPACE, Mirror
from tests.e2e.test_mirror_operations import told
from tests.server.conftest import until


def pull(mirrored: Mirror, library: str, image: Image, tag: str) -> None:
    """Have an image come whole."""
    repository = f"/v2/{NAMESPACE}/{library}"
    assert mirrored.wire.status(f"{repository}/manifests/{tag}") == 200
    for content in (*image.layers, image.config):
        assert mirrored.wire.status(f"{repository}/blobs/{content.digest}") == 200


def tags(mirrored: Mirror, library: str) -> list[str]:
    """The tags that it holds itself."""
    return [str(one) for one in told(mirrored, "tag", "list", f"{NAMESPACE}/{library}")["tags"]]


def just_too_much(*images: Image, ours: Image) -> str:
    """A bound that images together are over by a byte; what is ours does not count."""
    sizes = {one.digest: len(one.data) for image in images for one in image.contents}
    for one in ours.contents:
        sizes.pop(one.digest, None)
    return f"{sum(sizes.values()) - 1}B"


def test_what_is_too_much_goes_and_what_is_pinned_or_pushed_stays(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage
) -> None:
    images = {tag: new_image(random_bytes=1 << 19) for tag in ("v1", "v2", "v3")}
    ours = new_image(random_bytes=1000)
    mirrored = mirror("moorage", max_size=just_too_much(*images.values(), ours=ours))
    name = f"{NAMESPACE}/{library}"
    mirrored.wire.push(name, ours, "ours")
    for tag, image in images.items():
        mirrored.upstream.wire.push(library, image, tag)
    assert mirrored.wire.status(f"/v2/{name}/manifests/v1") == 200
    checked = told(mirrored, "storage", "check")
    assert (checked["problems"], checked["not_fetched"]) == ([], 2), "but for the layer that ours has"
    for tag, image in images.items():
        pull(mirrored, library, image, tag)
    assert told(mirrored, "mirror", "pin", f"{name}:v1", through_server=True)["held"]
    (namespace,) = told(mirrored, "mirror", "list")["namespaces"]
    assert [one["reference"] for one in namespace["pins"]] == [f"{name}:v1"]
    (rehearsed,) = told(mirrored, "mirror", "evict", "--dry-run")["namespaces"]
    (evicted,) = told(mirrored, "mirror", "evict", NAMESPACE, "--yes", through_server=True)["namespaces"]
    expected = [f"{name}:v2@{images['v2'].digest}"]
    assert [one["reference"] for one in rehearsed["gone"]] == expected
    assert [one["reference"] for one in evicted["gone"]] == expected
    assert evicted["freed_bytes"] >= 1 << 19
    assert tags(mirrored, library) == ["ours", "v1", "v3"]
    assert told(mirrored, "mirror", "status")["evicted"] == [evicted]
    assert told(mirrored, "storage", "check", "--hash-blobs")["problems"] == []
    pull(mirrored, library, images["v2"], "v2")
    assert told(mirrored, "mirror", "unpin", f"{name}:v1")["was_pinned"]
    events = [one["event"] for one in told(mirrored, "audit", "list")["entries"]]
    assert {"mirror.pinned", "mirror.evicted", "mirror.unpinned"} <= set(events)


def test_a_server_evicts_by_itself(mirror: Callable[..., Mirror]) -> None:
    mirrored = mirror("moorage", max_size="1GiB", evict_interval="1m")
    until(lambda: bool(mirrored.server.events("mirror.evicted")), "it has looked by itself")
    (evicted, *_) = mirrored.server.events("mirror.evicted")
    assert (evicted["namespace"], evicted["manifests"], evicted["failures"]) == (NAMESPACE, 0, [])
