from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.access.exposure import OPEN_RULES
from registry.access.rules import Action, Policy, RulesError, read_rules
from registry.model.names import RepositoryName

ACTIONS: tuple[Action, ...] = ("pull", "push", "delete", "list")
APP = RepositoryName("team/app")


def policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    return read_rules(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RulesError) as raised:
        policy(tmp_path, text)
    return [str(one).replace(f"{tmp_path / 'access.yaml'}:", "line ") for one in raised.value.problems]


def allowed(policy: Policy, name: RepositoryName | None) -> set[str]:
    return {action for action in ACTIONS if policy.allows(action, name).allowed}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(may=st.sets(st.sampled_from(["pull", "push", "list"]), min_size=1))
def test_any_subset_is_granted_as_written(tmp_path: Path, may: set[str]) -> None:
    rules = f"- {{who: anonymous, repositories: ['**'], may: [{', '.join(may)}]}}"
    assert allowed(policy(tmp_path, rules), APP) == may


def test_the_rules_that_the_refusal_prints_are_good_and_delete_nothing(tmp_path: Path) -> None:
    assert allowed(policy(tmp_path, OPEN_RULES), APP) == {"pull", "push", "list"}


def test_without_rules_everything_is_allowed() -> None:
    assert allowed(Policy.open(), APP) == set(ACTIONS)


def test_an_empty_list_grants_nothing(tmp_path: Path) -> None:
    assert allowed(policy(tmp_path, "[]\n"), APP) == set()


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_is_a_mistake(tmp_path: Path, text: str) -> None:
    (told,) = problems(tmp_path, text)
    assert "the file is empty" in told
    assert "`[]` grants nothing" in told


def test_rules_add_up_and_hold_for_the_repositories_that_they_name(tmp_path: Path) -> None:
    text = """\
- who: anonymous
  repositories: ['**']
  may: [pull]
- who: anonymous
  repositories: [scratch/**, playground]
  may: [push, list]
"""
    made = policy(tmp_path, text)
    names = ["scratch/a/b", "playground", "scratch", "playground/x", "other"]
    found = {name: allowed(made, RepositoryName(name)) for name in names}
    assert found == {
        "scratch/a/b": {"pull", "push", "list"},
        "playground": {"pull", "push", "list"},
        "scratch": {"pull"},
        "playground/x": {"pull"},
        "other": {"pull"},
    }
    assert allowed(made, None) == {"pull", "push", "list"}


def test_a_decision_says_why(tmp_path: Path) -> None:
    made = policy(tmp_path, "- {who: anonymous, repositories: [a], may: [pull]}")
    assert made.allows("pull", RepositoryName("a")).reason == "access rule 1 grants it"
    assert made.allows("push", APP).reason == "no access rule grants anonymous to push to team/app"
    assert made.allows("delete", APP).reason == "no access rule grants anonymous to delete from team/app"


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    text = """\
- who: alice
  repositories: ['**']
  may: [pull]
- who: anonymous
  repositories: ['Team/**', a]
  may: [delete, pull, admin, fly]
- {who: anonymous, repositories: [], may: []}
- {who: anonymous, repository: ['**'], may: [pull]}
- anonymous
- {who: anonymous, repositories: [a], may: [pull], may: [push]}
- {who: anonymous, repositories: a, may: pull}
"""
    told = problems(tmp_path, text)
    for begin, remedy in [
        ("line 1: who = 'alice'", "must be anonymous"),
        ("line 5: repositories[0] = 'Team/**'", "lowercase"),
        ("line 6: may[0] = 'delete'", "cannot be granted to anonymous: whoever reaches"),
        ("line 6: may[2] = 'admin'", "cannot be granted to anonymous"),
        ("line 6: may[3] = 'fly'", "one of pull, push, list"),
        ("line 7: repositories = []", "must not be empty"),
        ("line 7: may = []", "must not be empty"),
        ("line 8: repository: there is no such key", "did you mean repositories?"),
        ("line 8: repositories", "required"),
        ("line 9:", "section"),
        ("line 10: [5].may: the key is written twice", "first on line 10"),
        ("line 11: repositories = 'a'", "must be a list"),
        ("line 11: may = 'pull'", "must be a list"),
    ]:
        assert [one for one in told if one.startswith(begin) and remedy in one], (begin, told)


@pytest.mark.parametrize("text", ["who: anonymous\n", "rules\n"])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    assert "list of rules" in problems(tmp_path, text)[0]


@pytest.mark.parametrize("text", ["- [", "- &a {}\n- *a\n"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"absent.*cannot be read: No such file"):
        read_rules(tmp_path / "absent")


def test_nobody_is_granted_deletes_by_any_rule(tmp_path: Path) -> None:
    for action, pattern in product(["delete", "admin"], ["**", "a"]):
        text = f"- {{who: anonymous, repositories: ['{pattern}'], may: [{action}]}}"
        assert len(problems(tmp_path, text)) == 1
