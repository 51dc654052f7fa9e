"""Which tags and repositories a selection means."""

from __future__ import annotations

import pickle

import pytest

from registry.model.patterns import RepositoryPattern
from registry.model.selection import Selection, TagSelector


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("v1.*", ["v1.0", "v1."], ["v1", "xv1.0"]),
        ("re:v[0-9]+", ["v1", "v23"], ["v", "v1.0", "xv1"]),
        ("semver:>=1.2.0", ["1.2.0", "v3.0.0"], ["1.1.0", "latest"]),
        ("*", ["anything"], []),
    ],
)
def test_tags_by_pattern_by_expression_or_by_version(
    text: str, matching: list[str], others: list[str]
) -> None:
    selector = TagSelector(text)
    assert all(selector.matches(tag) for tag in matching)
    assert not any(selector.matches(tag) for tag in others)
    assert pickle.loads(pickle.dumps(selector)) == selector and str(selector) == text


@pytest.mark.parametrize("text", ["", "re:(", "semver:1.2", "a/b", "re:" + "a" * 1022])
def test_what_selects_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        TagSelector(text)


def test_a_selection_is_of_repositories_and_of_tags_in_them() -> None:
    some = Selection((RepositoryPattern("team/*"), RepositoryPattern("base")), (TagSelector("v*"),))
    assert some.has_repository("team/app") and some.has_repository("base")
    assert not some.has_repository("team") and not some.has_repository("team/a/b")
    assert some.has("v1") and not some.has("latest")
