"""Real clients pull through a namespace: what was pulled once is there when the upstream is not any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.images import NewImage
from tests.e2e.mirrors import Mirror
from tests.e2e.pullers import EACH_TIME, NAMES, puller


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
    mirrored = mirror()
    images = {f"{library}-{what}": new_image() for what in ("deleted", "kept")}
    for repository, image in images.items():
        mirrored.upstream.wire.push(repository, image, "1")
    deleted, kept = images
    with puller(client, mirrored, request) as hand:

        def pulls(repository: str) -> bool:
            with mirrored.giving(images[repository]):
                right = hand.pull(repository, images[repository])
            hand.forget(repository)
            return right

        assert pulls(deleted) and pulls(kept)
        mirrored.upstream.remove(deleted, images[deleted])
        assert pulls(deleted)
        mirrored.upstream.process.kill()
        assert pulls(kept)
