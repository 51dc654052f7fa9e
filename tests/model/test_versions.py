"""Tags as versions."""

from __future__ import annotations

from itertools import pairwise

import pytest

from registry.model.versions import Version, VersionRange

# semver.org, "Precedence", and what it says of words and numbers.
IN_ORDER = [
    "1.0.0-1",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "v1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def test_they_are_ordered_as_the_specification_says() -> None:
    versions = [Version.parse(tag) for tag in IN_ORDER]
    assert None not in versions
    for lower, higher in pairwise(versions):
        assert lower is not None and higher is not None and lower < higher and not higher < lower


@pytest.mark.parametrize(
    "tag", ["1", "1.2", "latest", "01.2.3", "1.2.3-", "1.2.3-01", "x1.2.3", "1.2.3.4", ""]
)
def test_what_is_no_version(tag: str) -> None:
    assert Version.parse(tag) is None


def test_what_it_was_built_of_does_not_count() -> None:
    assert Version.parse("1.2.3_build.5") == Version.parse("v1.2.3") == Version.parse("1.2.3+build.6")


def test_a_range_takes_what_all_of_its_bounds_take() -> None:
    some = VersionRange(">=1.2.0 <2.0.0")
    tags = ["1.1.9", "1.2.0", "v1.9.9", "2.0.0-rc.1", "2.0.0", "latest"]
    assert [tag for tag in tags if some.matches(tag)] == ["1.2.0", "v1.9.9", "2.0.0-rc.1"]
    assert VersionRange("=1.0.0").matches("v1.0.0") and not VersionRange(">1.0.0").matches("1.0.0")


@pytest.mark.parametrize("text", ["", "  ", "1.2.0", ">=1.2", "~1.2.0", ">= 1.2.0"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        VersionRange(text)
