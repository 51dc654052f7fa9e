"""Settings of rules that cannot mean what they say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from registry.model.selection import TagSelector
from registry.upkeep.settings import UpkeepSettings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rules": [{"repositories": ["a"], "tags": ["b"], "untagged_for": "7d"}]}, "make it two rules"),
        ({"rules": [{"repositories": ["a"], "always": ["b"], "empty": True}]}, "make it two rules"),
        ({"rules": [{"repositories": ["a"], "pulled_within": "399d"}]}, "longer than pulls are known"),
        ({"rules": [{"repositories": ["a"], "untagged_for": "400d"}]}, "longer than pulls are known"),
        ({"rules": [{"repositories": ["a"], "tags": ["re:(a+)+"], "newest_pushed": 1}]}, "repeats no group"),
        ({"rules": [{"repositories": ["a"], "tags": ["re:.*.*.*.*"], "newest_pushed": 1}]}, "at most three"),
        ({"rules": [{"repositories": [], "newest_pushed": 1}]}, "at least 1"),
    ],
)
def test_settings_that_cannot_mean_what_they_say_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        UpkeepSettings.model_validate({"retention": settings})


def test_expressions_that_are_plain_enough_are_taken() -> None:
    for text in (r"re:v?[0-9]+\.[0-9]+", "re:(a|b)-[a-z+*]+", r"re:\(+x", "re:pr-[0-9]{1,5}(-rc)?"):
        assert TagSelector(text).text == text
