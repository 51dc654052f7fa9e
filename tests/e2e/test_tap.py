"""What the client tests rely on would notice: uploads, pulls that begin again, and where requests went."""

from __future__ import annotations

import http.client

import pytest

from tests.e2e.images import NewImage
from tests.e2e.registries import Registry
from tests.e2e.tap import Tap
from tests.e2e.wire import Wire


def through(tap: Tap) -> Wire:
    """A client that knows only the tap."""
    return Wire(tap.host_port)


def test_an_upload_is_noticed(registry: Registry, repository: str, new_image: NewImage) -> None:
    with pytest.raises(AssertionError, match=r"PUT /v2/.*uploads"), registry.uploading_nothing():
        through(registry.tap).push(repository, new_image(), "1")
    with registry.uploading_nothing():
        through(registry.tap).whole(repository, "1")


def test_a_client_that_never_came_is_noticed(registry: Registry) -> None:
    with pytest.raises(AssertionError, match="never came"), registry.uploading_nothing():
        pass


def test_requests_are_noted_with_the_size_of_their_bodies(
    registry: Registry, repository: str, new_image: NewImage
) -> None:
    image = new_image()
    with registry.tap.watch() as seen:
        through(registry.tap).push(repository, image, "1")
    puts = [request for request in seen if request.method == "PUT"]
    assert sorted(request.body_bytes for request in puts) == sorted(
        len(content.data) for content in image.contents
    )


def test_an_answer_breaks_off_and_a_client_that_begins_again_is_noticed(
    registry: Registry, repository: str, new_image: NewImage
) -> None:
    image = new_image()
    registry.wire.push(repository, image, "1")
    largest = max(image.layers, key=lambda layer: len(layer.data))
    client = through(registry.tap)
    with pytest.raises(AssertionError, match="GET /v2/"), registry.resuming(after_bytes=500_000):
        with pytest.raises(http.client.IncompleteRead):
            client.blob(repository, largest.digest)
        client.blob(repository, largest.digest)


def test_nothing_long_enough_to_break_is_noticed(registry: Registry) -> None:
    with pytest.raises(AssertionError, match="long enough"), registry.resuming():
        through(registry.tap).status("/v2/")


def test_spread_requests_go_to_each_upstream_in_turn(registry: Registry) -> None:
    with (
        Tap(registry.wire.host_port) as one,
        Tap(registry.wire.host_port) as two,
        Tap(one.host_port, two.host_port, spread=True) as tap,
    ):
        connection = http.client.HTTPConnection(tap.host_port)
        for _ in range(4):
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
        connection.close()
        assert [len(one.requests), len(two.requests)] == [2, 2]
