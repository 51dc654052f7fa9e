from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from registry.access.rules import PlacedRule, RulesError, read_rules

PULL = "- {who: anonymous, repositories: ['**'], may: [pull]}\n"


def rules(tmp_path: Path, text: str) -> tuple[PlacedRule, ...]:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    return read_rules(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RulesError) as raised:
        rules(tmp_path, text)
    return [str(one).replace(f"{tmp_path / 'access.yaml'}:", "line ") for one in raised.value.problems]


def test_each_rule_knows_where_it_stands(tmp_path: Path) -> None:
    first, second = rules(tmp_path, PULL + "\n" + PULL)
    assert (first.number, first.line, second.number, second.line) == (1, 1, 2, 3)
    assert str(second) == "access rule 2 (line 3)"


def test_one_name_or_many(tmp_path: Path) -> None:
    (one,) = rules(tmp_path, "- {who: [user:alice, 'group:team a'], repositories: [a], may: [push]}")
    assert one.rule.who == ("user:alice", "group:team a")
    assert one.rule.rights == {"create", "overwrite"}


def test_people_and_groups_of_a_directory_are_called_in_lower_case(tmp_path: Path) -> None:
    text = "- {who: ['ldap:Alice', 'ldap-group:Platform Team', user:Alice], repositories: [a], may: [pull]}"
    (one,) = rules(tmp_path, text)
    assert one.rule.who == ("ldap:alice", "ldap-group:platform team", "user:Alice")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_is_a_mistake(tmp_path: Path, text: str) -> None:
    (told,) = problems(tmp_path, text)
    assert "the file is empty" in told
    assert "`[]` grants nothing" in told


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    text = """\
- who: alice
  repositories: ['**']
  may: [pull]
- who: user:alice
  repositories: ['Team/**', 'x{user}', '{claims.a b}/c']
  may: [pull, fly]
- {who: anonymous, repositories: [], may: []}
- {who: anonymous, repository: ['**'], may: [pull]}
- anonymous
- {who: anonymous, repositories: [a], may: [pull], may: [push]}
- {who: anonymous, repositories: a, may: pull}
- {who: user:bob, repositories: [a]}
- {who: user:bob, repositories: [a], may: [pull], deny: [push]}
- {who: user:bob, repositories: [a], tags: ['v*'], may: [pull, push]}
- {who: user:bob, repositories: [a], tags: ['v*', '?'], may: [push]}
- {who: user:bob, claims: {ref: main}, repositories: [a], may: [push]}
- {who: issuer:gitlab, claims: {ref: '*'}, repositories: [a], may: [push]}
- {who: [], repositories: [a], may: [push]}
- {who: [user:bob, key:ci], repositories: [a], may: [push]}
"""
    told = problems(tmp_path, text)
    for begin, remedy in [
        ("line 1: who[0] = 'alice'", "a name with its source"),
        ("line 5: repositories[0] = 'Team/**'", "lowercase"),
        ("line 5: repositories[1] = 'x{user}'", "whole segment"),
        ("line 5: repositories[2] = '{claims.a b}/c'", "whole segment"),
        ("line 6: may[1] = 'fly'", "one of pull, create, overwrite, delete, list, approve, admin, push"),
        ("line 7: repositories = []", "must not be empty"),
        ("line 7: may = []", "must not be empty"),
        ("line 8: repository: there is no such key", "did you mean repositories?"),
        ("line 8: repositories", "required"),
        ("line 9:", "section"),
        ("line 10: [5].may: the key is written twice", "first on line 10"),
        ("line 11: repositories = 'a'", "must be a list"),
        ("line 11: may = 'pull'", "must be a list"),
        ("line 12", "either `may` or `deny`"),
        ("line 13", "either `may` or `deny`"),
        ("line 14", "not pull"),
        ("line 15: tags[1] = '?'", "no pattern of tags"),
        ("line 16", "issuer:NAME"),
        ("line 17", "stars alone"),
        ("line 18: who = []", "must not be empty"),
        ("line 19", "nothing can be granted to key:ci"),
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


def test_nobody_in_particular_is_granted_deletes_by_any_rule(tmp_path: Path) -> None:
    for right, pattern, who in product(
        ["delete", "admin"], ["**", "a"], ["anonymous", "[user:a, anonymous]"]
    ):
        text = f"- {{who: {who}, repositories: ['{pattern}'], may: [{right}]}}"
        (told,) = problems(tmp_path, text)
        assert f"{right} cannot be granted to anonymous" in told


def test_to_refuse_deletes_to_everybody_is_a_rule(tmp_path: Path) -> None:
    assert rules(tmp_path, "- {who: anonymous, repositories: ['**'], deny: [delete]}")


def test_to_refuse_something_to_a_key_is_a_rule(tmp_path: Path) -> None:
    assert rules(tmp_path, "- {who: key:ci, repositories: ['**'], deny: [push]}")
