from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.access.callers import Grants
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, Principal
from registry.access.rules import read_rules
from registry.access.scopes import MOST, Scope, access_of, grant, grants_of, parse_scopes, scope_text

ALICE = Principal("user:alice")
RULES = """\
- {who: anonymous, repositories: ['public/**'], may: [pull]}
- {who: user:alice, repositories: ['team/*'], may: [pull, push, list]}
- {who: user:alice, repositories: ['team/own'], may: [delete]}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    (tmp_path / "rules.yaml").write_text(RULES)
    return Policy(read_rules(tmp_path / "rules.yaml"))


@pytest.mark.parametrize(
    ("texts", "granted"),
    [
        # One parameter with blanks, and repeated ones.
        (["repository:team/a:pull repository:team/b:pull"], "repository:team/a:pull repository:team/b:pull"),
        (["repository:team/a:pull", "repository:team/a:push"], "repository:team/a:pull,push"),
        (["repository:team/a:push,pull repository:team/a:pull"], "repository:team/a:pull,push"),
        # A host with its port in the name belongs to no repository of ours, and breaks nothing.
        (["repository:localhost:5000/x:pull repository:team/a:pull"], "repository:team/a:pull"),
        # `*` is all that the caller may.
        (["repository:team/a:*"], "repository:team/a:pull,push"),
        (["repository:team/own:*"], "repository:team/own:delete,pull,push"),
        # Less than was asked for is no error.
        (["repository:team/a:pull,push,delete"], "repository:team/a:pull,push"),
        (["repository:other/a:pull,push"], ""),
        (["registry:catalog:*"], "registry:catalog:*"),
        (["registry:catalog:pull"], ""),
        (["registry:other:*"], ""),
        (["repository(plugin):team/a:pull"], "repository:team/a:pull"),
        (["repository:team/a:fly,pull"], "repository:team/a:pull"),
        (["repository:Team/a:pull repository:team//a:pull repository:team/../a:pull"], ""),
        (["repository:team/a", "team/a:pull", ":team/a:pull", "repository::pull", "repository:team/a:"], ""),
        (["", " ", ":", "::", ":::", "repository", "\x00", "répository:team/a:pull"], ""),
    ],
)
def test_what_is_granted(policy: Policy, texts: list[str], granted: str) -> None:
    """trap 44, trap 46, trap 47"""
    assert scope_text(grant(policy, ALICE, parse_scopes(texts))) == granted


@pytest.mark.parametrize("name", ["a", "localhost:5000/x", "[::1]:5000/x", "a:b:c"])
def test_the_type_ends_at_the_first_colon_and_the_actions_begin_behind_the_last(name: str) -> None:
    """trap 45"""
    assert parse_scopes([f"repository:{name}:pull,push"]) == [
        Scope("repository", name, frozenset({"pull", "push"}))
    ]


def test_everybody_gets_what_everybody_may(policy: Policy) -> None:
    wanted = parse_scopes(["repository:public/a:pull,push repository:team/a:pull registry:catalog:*"])
    assert scope_text(grant(policy, ANONYMOUS, wanted)) == "repository:public/a:pull"


def test_so_many_are_looked_at_and_no_more() -> None:
    assert len(parse_scopes(["repository:a:pull " * (MOST + 50)])) == MOST


@given(st.lists(st.text(), max_size=5))
def test_nothing_malformed_is_an_error(texts: list[str]) -> None:
    for scope in parse_scopes(texts):
        assert scope.type and scope.name and scope.actions


@given(
    st.dictionaries(
        st.sampled_from(["a", "team/b"]), st.frozensets(st.sampled_from(["pull", "push", "*"]), min_size=1)
    ),
    st.frozensets(st.sampled_from(["catalog", "api"])),
)
def test_grants_survive_the_way_through_a_token(
    repositories: dict[str, frozenset[str]], registry: frozenset[str]
) -> None:
    grants = Grants(repositories, registry)
    assert grants_of(access_of(grants)) == grants


@pytest.mark.parametrize(
    "access",
    [
        [None, 1, "a", [], {}],
        [{"type": "repository", "name": 1, "actions": ["pull"]}],
        [{"type": "repository", "name": "a", "actions": "pull"}],
        [{"type": "other", "name": "a", "actions": ["pull"]}],
        [{"type": "registry", "name": "catalog", "actions": ["pull"]}],
    ],
)
def test_entries_that_are_none_grant_nothing(access: list[object]) -> None:
    assert grants_of(access) == Grants()
