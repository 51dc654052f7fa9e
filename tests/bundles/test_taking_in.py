"""What an import takes, what it refuses, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.bundles.errors import BundleRefused
from registry.model.names import RepositoryName, Tag
from tests.bundles.handmade import Selection, files_of, images, write_folder
from tests.bundles.sides import Gap

APP, V1 = RepositoryName("team/app"), Tag("v1")


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them; one person must approve."""
    return Gap(tmp_path, {"approvals": 1})


# Ids.


async def test_another_bundle_with_a_known_id_is_refused(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.bundles.format._id_of", lambda _: "b-0123456789abcdef0123")
    other = Selection()
    other.tag("team/app", "v1", other.image("another", "team/app"))
    other.statement.order()
    received = gap.far.bundles.importing.received
    first = await gap.far.take_in(write_folder(files_of(images(), gap.key), gap.folder / "first"))
    second = write_folder(files_of(other, gap.key, number=2), gap.folder / "second")
    for is_dry in (True, False):
        with pytest.raises(BundleRefused, match="another bundle with the id b-0123456789abcdef0123"):
            await gap.far.take_in(second, dry_run=is_dry)
    assert (await received.head(first.head.id)).number == 1
    with pytest.raises(BundleRefused, match="another bundle"):
        # Two at once, each of which found nothing before.
        await received.put_head(first.head.id, (second / "bundle.json").read_bytes())
    assert (await gap.far.take_in(gap.folder / "first")).is_staged
