from __future__ import annotations

import pytest

from registry.model import media_types


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ],
)
def test_layers_that_may_lie_elsewhere(media_type: str) -> None:
    assert media_types.is_nondistributable(media_type)


@pytest.mark.parametrize("media_type", ["", "application/vnd.oci.image.layer.v1.tar", media_types.OCI_IMAGE])
def test_all_others_must_be_here(media_type: str) -> None:
    assert not media_types.is_nondistributable(media_type)


@pytest.mark.parametrize(
    "content_type",
    [
        media_types.OCI_IMAGE,
        media_types.OCI_IMAGE + "; charset=utf-8",
        media_types.OCI_IMAGE + ";charset=utf-8;x=y",
        f" {media_types.OCI_IMAGE} ; charset=utf-8",
        media_types.OCI_IMAGE.replace("application", "Application"),
    ],
)
def test_parameters_are_stripped(content_type: str) -> None:
    assert media_types.strip_parameters(content_type) == media_types.OCI_IMAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("application/json", True),
        ("a/b", True),
        (f"{'a' * 127}/{'b' * 127}", True),
        ("", False),
        ("json", False),
        ("/json", False),
        ("application/", False),
        ("application/a/b", False),
        ("application/a b", False),
        ("application/a\n", False),
        ("application/a; x=y", False),
        (".a/b", False),
        ("a/\u00e9", False),
        (f"{'a' * 128}/b", False),
    ],
)
def test_well_formed(text: str, expected: bool) -> None:
    assert media_types.is_media_type(text) is expected
