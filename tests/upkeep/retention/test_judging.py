"""Which tags stay, and by which rule: judged from facts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag, subject_of
from registry.upkeep.retention.judging import Decision, Judgement, TagFacts
from registry.upkeep.settings import RetentionRule
from tests.upkeep.retention.retaining import Known

NAME = RepositoryName("team/app")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GRACE = timedelta(days=1)
DAY = timedelta(days=1)


def digest_of(number: int) -> Digest:
    return Digest.of(str(number).encode())


def fact(tag: str, number: int, days: float, **more: Any) -> TagFacts:
    """A tag on an image of a number, pushed so many days ago."""
    at = (NOW - days * DAY).timestamp()
    return TagFacts(Tag(tag), digest_of(number), at, at, **more)


def rule(**settings: Any) -> RetentionRule:
    return RetentionRule.model_validate({"repositories": ["team/*"], **settings})


def judged(
    tags: Sequence[TagFacts],
    *rules: RetentionRule,
    pulls: Known | None = None,
    in_use: Mapping[Digest, str] | None = None,
) -> dict[str, Decision]:
    titled = [(one.name or f"rule {number}", one) for number, one in enumerate(rules, 1)]
    judgement = Judgement(NAME, titled, NOW.timestamp(), GRACE, in_use or {}, pulls or Known())
    return {decision.tag: decision for decision in judgement.of(tags)}


def stays(decisions: Mapping[str, Decision]) -> list[str]:
    return sorted(tag for tag, decision in decisions.items() if decision.stays)


OLD = [fact(f"b{number}", number, 10 + number) for number in range(6)]


def test_the_newest_pushed_stay_and_the_others_go() -> None:
    decisions = judged(OLD, rule(newest_pushed=2, name="builds"))
    assert stays(decisions) == ["b0", "b1"]
    assert (decisions["b0"].rule, decisions["b0"].reason) == ("builds", "among the newest 2 pushed")
    assert (decisions["b5"].rule, decisions["b5"].reason) == ("builds", "nothing keeps it")


def test_of_those_pushed_at_the_same_moment_none_is_preferred() -> None:
    tags = [fact(f"b{number}", number, 10 if number < 4 else 20) for number in range(6)]
    assert stays(judged(tags, rule(newest_pushed=2))) == ["b0", "b1", "b2", "b3"]


def test_images_are_counted_and_not_their_tags() -> None:
    tags = [*OLD, fact("latest", 0, 10), fact("stable", 0, 9)]
    assert stays(judged(tags, rule(newest_pushed=2))) == ["b0", "b1", "latest", "stable"]


def test_what_no_rule_is_about_stays() -> None:
    decisions = judged(OLD, rule(tags=["x*"], newest_pushed=1), rule(untagged_for="7d"))
    assert len(stays(decisions)) == 6 and decisions["b5"].reason == "no rule is about it"


def test_what_one_rule_keeps_stays_whatever_another_says() -> None:
    decisions = judged(OLD, rule(newest_pushed=1), rule(tags=["b5"], pushed_within="100d"))
    assert stays(decisions) == ["b0", "b5"]


def test_what_is_always_kept() -> None:
    decisions = judged(OLD, rule(newest_pushed=1, always=["b3", "re:b[45]"]))
    assert stays(decisions) == ["b0", "b3", "b4", "b5"] and decisions["b3"].reason == "always kept"


def test_what_was_pushed_within_a_time() -> None:
    assert stays(judged(OLD, rule(pushed_within="12d"))) == ["b0", "b1"]


def test_the_highest_versions_stay_with_what_else_names_them() -> None:
    numbers = {"1.9.0": 1, "1.10.0": 2, "2.0.0-rc.1": 3, "1.2": 4, "v1.8.0": 5}
    tags = [fact(tag, number, 20) for tag, number in numbers.items()]
    tags.append(fact("1", 2, 20))
    assert stays(judged(tags, rule(newest_versions=2))) == ["1", "1.10.0", "1.9.0"]


def test_a_pull_counts_to_the_end_of_the_day_after() -> None:
    pulls = Known(days={("b5", digest_of(5)): (NOW - 9 * DAY).date()})
    assert stays(judged(OLD, rule(pulled_within="8d"), pulls=pulls)) == ["b5"]
    pulls = Known(days={("b5", digest_of(5)): (NOW - 10 * DAY).date()})
    assert stays(judged(OLD, rule(pulled_within="8d"), pulls=pulls)) == []


def test_a_pull_by_digest_and_one_of_a_listed_manifest_count_too() -> None:
    pulls = Known(days={(None, digest_of(5)): NOW.date(), (None, digest_of(77)): NOW.date()})
    tags = [*OLD, fact("index", 9, 40, listed=frozenset({digest_of(77)}))]
    assert stays(judged(tags, rule(pulled_within="3d"), pulls=pulls)) == ["b5", "index"]


def test_a_push_counts_as_use() -> None:
    assert stays(judged(OLD, rule(pulled_within="12d"))) == ["b0", "b1"]


def test_of_days_that_are_not_covered_nobody_knows_what_was_pulled() -> None:
    pulls = Known(uncovered_until=(NOW - 5 * DAY).date())
    decisions = judged(OLD, rule(pulled_within="12d"), pulls=pulls)
    assert len(stays(decisions)) == 6
    assert "not every server has told" in decisions["b5"].reason
    assert stays(judged(OLD, rule(pulled_within="2d"), pulls=pulls)) == []


def test_of_those_last_pulled_on_the_same_day_none_is_preferred() -> None:
    day = (NOW - 3 * DAY).date()
    pulls = Known(days={(tag, digest_of(number)): day for tag, number in (("b2", 2), ("b4", 4), ("b5", 5))})
    assert stays(judged(OLD, rule(newest_pulled=1), pulls=pulls)) == ["b2", "b4", "b5"]
    assert len(stays(judged(OLD, rule(newest_pulled=1), pulls=Known(NOW.date())))) == 6


def test_what_is_in_use_stays_by_its_digest_or_one_that_it_lists() -> None:
    in_use = {digest_of(3): "pods.txt", digest_of(77): "nodes.txt"}
    tags = [*OLD, fact("index", 9, 40, listed=frozenset({digest_of(77)}))]
    decisions = judged(tags, rule(newest_pushed=1), in_use=in_use)
    assert stays(decisions) == ["b0", "b3", "index"]
    assert decisions["index"].reason == "in use: nodes.txt"


def test_what_was_just_set_stays_whatever_its_history_says() -> None:
    long_ago = (NOW - 1000 * DAY).timestamp()
    tags = [*OLD, TagFacts(Tag("new"), digest_of(9), long_ago, (NOW - DAY / 2).timestamp())]
    assert stays(judged(tags, rule(newest_pushed=1))) == ["b0", "new"]


@pytest.mark.parametrize("ending", ["", ".sig", ".att", "-anything"])
def test_what_belongs_to_a_manifest_is_not_counted_and_goes_with_it(ending: str) -> None:
    tag = f"sha256-{digest_of(5).encoded}{ending}"
    assert subject_of(tag) == digest_of(5)
    decisions = judged([*OLD, fact(tag, 9, 1.5)], rule(newest_pushed=1))
    assert stays(decisions) == ["b0", tag]


@pytest.mark.parametrize("settings", [{}, {"always": ["latest"]}, {"tags": ["v*"]}])
def test_a_rule_without_a_limit_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a rule needs what it keeps"):
        rule(**settings)


TAGS = st.lists(
    st.tuples(
        st.sampled_from(["1.0.0", "1.1.0", "2.0.0", "v3.0.0-rc.1", "latest", "a", "b", "c"]),
        st.integers(0, 4),
        st.floats(0, 60),
    ),
    unique_by=lambda one: one[0],
    max_size=8,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "newest_pushed": st.integers(1, 4),
        "newest_pulled": st.integers(1, 4),
        "newest_versions": st.integers(1, 3),
        "pushed_within": st.sampled_from(["1d", "7d", "30d"]),
        "pulled_within": st.sampled_from(["1d", "7d", "30d"]),
        "always": st.sampled_from([["latest"], ["semver:>=1.1.0"]]),
    },
).filter(lambda settings: bool(settings.keys() - {"always"}))
PULLED = st.dictionaries(
    st.tuples(st.none(), st.integers(0, 4).map(digest_of)),
    st.integers(0, 60).map(lambda days: (NOW - days * DAY).date()),
)


@given(TAGS, st.lists(RULES, min_size=1, max_size=3), PULLED, st.none() | st.integers(0, 60))
def test_more_rules_and_less_knowledge_never_let_more_go(
    tags: list[tuple[str, int, float]],
    rules: list[dict[str, Any]],
    days: dict[tuple[str | None, Digest | None], date],
    uncovered: int | None,
) -> None:
    facts = [fact(*one) for one in tags]
    chosen = [rule(**settings) for settings in rules]
    pulls = Known(days=days)
    decisions = judged(facts, *chosen, pulls=pulls)
    if tags:
        # Every limit on how many keeps at least one, and each image has one fate, but for what names tags.
        first = rules[0]
        if "newest_pushed" in first:
            kept = {decision.digest for decision in decisions.values() if decision.stays}
            assert len(kept) >= min(first["newest_pushed"], len({one.digest for one in facts}))
    fewer = judged(facts, chosen[0], pulls=pulls)
    assert set(stays(fewer)) <= set(stays(decisions))
    if uncovered is not None:
        doubtful = Known((NOW - uncovered * DAY).date(), days)
        assert set(stays(decisions)) <= set(stays(judged(facts, *chosen, pulls=doubtful)))
