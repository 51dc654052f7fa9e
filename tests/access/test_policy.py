from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.access.exposure import OPEN_RULES
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS, OPERATOR, Bound, Principal
from registry.access.rights import RIGHTS, Right
from registry.access.rule_operations import explained
from registry.access.rules import read_rules
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern

APP = RepositoryName("team/app")
ALICE = Principal("user:alice", frozenset({"group:team"}))
V1, LATEST = Tag("v1"), Tag("latest")


def policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    return Policy(read_rules(path))


def allowed(
    policy: Policy, who: Principal, name: RepositoryName | None = APP, tag: Tag | None = None
) -> set[Right]:
    return {right for right in RIGHTS if policy.decide(who, right, name, tag).allowed}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(may=st.sets(st.sampled_from(["pull", "create", "overwrite", "list"]), min_size=1))
def test_any_subset_is_granted_as_written(tmp_path: Path, may: set[str]) -> None:
    made = policy(tmp_path, f"- {{who: anonymous, repositories: ['**'], may: [{', '.join(may)}]}}")
    assert allowed(made, ANONYMOUS) == may
    assert allowed(made, ALICE) == may, "what nobody in particular may, everybody may"
    assert not made.knows_people


def test_the_rules_that_the_refusal_prints_are_good_and_delete_nothing(tmp_path: Path) -> None:
    assert allowed(policy(tmp_path, OPEN_RULES), ANONYMOUS) == {"pull", "create", "overwrite", "list"}


def test_without_rules_everything_is_allowed() -> None:
    assert allowed(Policy.open(), ANONYMOUS) == set(RIGHTS)


def test_an_empty_list_grants_nothing_but_to_the_operator(tmp_path: Path) -> None:
    made = policy(tmp_path, "[]\n")
    assert allowed(made, ALICE) == set()
    assert allowed(made, OPERATOR) == set(RIGHTS)


def test_rules_add_up_and_hold_for_the_repositories_that_they_name(tmp_path: Path) -> None:
    text = """\
- {who: anonymous, repositories: ['**'], may: [pull]}
- {who: anonymous, repositories: [scratch/**, playground], may: [push, list]}
"""
    made = policy(tmp_path, text)
    names = ["scratch/a/b", "playground", "scratch", "playground/x", "other"]
    all_of_it = {"pull", "create", "overwrite", "list"}
    assert {name: allowed(made, ANONYMOUS, RepositoryName(name)) for name in names} == {
        "scratch/a/b": all_of_it,
        "playground": all_of_it,
        "scratch": {"pull"},
        "playground/x": {"pull"},
        "other": {"pull"},
    }


WHO = [
    ("user:alice", ALICE, True),
    ("group:team", ALICE, True),
    ("authenticated", ALICE, True),
    ("anonymous", ALICE, True),
    ("authenticated", ANONYMOUS, False),
    ("ldap:alice", ALICE, False),
    ("ldap-group:team", ALICE, False),
    ("user:alic", ALICE, False),
    ("issuer:ci", Principal("issuer:ci:repo:acme/app"), True),
    ("issuer:c", Principal("issuer:ci:repo:acme/app"), False),
    ("issuer:ci:repo:acme/app", Principal("issuer:ci:repo:acme/app"), True),
    ("user:ci", Principal("issuer:user:ci"), False),
]


@pytest.mark.parametrize(("subject", "who", "is_meant"), WHO)
def test_equal_names_from_two_sources_are_two_people(
    tmp_path: Path, subject: str, who: Principal, is_meant: bool
) -> None:
    made = policy(tmp_path, f"- {{who: '{subject}', repositories: ['**'], may: [pull]}}")
    assert made.decide(who, "pull", APP).allowed is is_meant


def test_an_explicit_deny_wins_wherever_it_stands(tmp_path: Path) -> None:
    text = """\
- {who: user:alice, repositories: ['**'], deny: [overwrite]}
- {who: group:team, repositories: ['team/**'], may: [pull, push, delete]}
- {who: authenticated, repositories: ['**'], tags: ['v*'], deny: [delete]}
"""
    made = policy(tmp_path, text)
    assert allowed(made, ALICE) == {"pull", "create", "delete"}
    assert allowed(made, ALICE, APP, V1) == {"pull", "create"}
    decision = made.decide(ALICE, "overwrite", APP, LATEST)
    assert decision.reason == "access rule 1 (line 1) denies it: user:alice to overwrite team/app:latest"


@pytest.mark.parametrize("source", ["user", "htpasswd", "token"])
def test_whom_a_deny_names_is_refused_in_whatever_case_and_granted_as_written(
    tmp_path: Path, source: str
) -> None:
    everything = "- {who: authenticated, repositories: ['**'], may: [pull]}\n"
    deny = f"- {{who: '{source}:Bob', repositories: ['**'], deny: [pull]}}\n"
    for name, may in {"bob": set(), "BOB": set(), "Bob": set(), "bobby": {"pull"}}.items():
        assert allowed(policy(tmp_path, everything + deny), Principal(f"{source}:{name}")) == may
    grant = policy(tmp_path, f"- {{who: '{source}:Bob', repositories: ['**'], may: [pull]}}\n")
    assert allowed(grant, Principal(f"{source}:Bob")) == {"pull"}
    assert allowed(grant, Principal(f"{source}:bob")) == set()


def test_tags_narrow_what_may_be_created_but_not_the_content_behind_them(tmp_path: Path) -> None:
    made = policy(
        tmp_path, "- {who: user:alice, repositories: ['**'], tags: ['v*', latest], may: [push, delete]}"
    )
    assert allowed(made, ALICE, APP, V1) == {"create", "overwrite", "delete"}
    assert allowed(made, ALICE, APP, Tag("x")) == set()
    assert allowed(made, ALICE) == {"create"}, "untagged content may be pushed, and not be deleted"


@pytest.mark.parametrize(
    ("who", "name", "is_covered"),
    [
        ("user:alice", "users/alice/app", True),
        ("user:alice", "users/bob/app", False),
        ("user:a/b", "users/a/b/app", False),
        ("user:*", "users/x/app", False),
        ("user:**", "users/x/app", False),
        ("user:Alice", "users/alice/app", False),
        ("anonymous", "users/anonymous/app", False),
        ("user:a..b", "users/a.b/app", False),
        ("issuer:gitlab:alice", "users/alice/app", False),
        ("htpasswd:alice", "users/alice/app", True),
        ("token:alice", "users/alice/app", True),
    ],
)
def test_a_placeholder_is_one_literal_segment(tmp_path: Path, who: str, name: str, is_covered: bool) -> None:
    made = policy(tmp_path, "- {who: anonymous, repositories: ['users/{user}/**'], may: [pull]}")
    assert made.decide(Principal(who), "pull", RepositoryName(name)).allowed is is_covered


def workload(**claims: str) -> Principal:
    return Principal("issuer:gitlab:project", claims=tuple(sorted(claims.items())))


def test_claims_are_conditions_and_fill_placeholders(tmp_path: Path) -> None:
    text = """\
- who: issuer:gitlab
  claims: {ref: [main, 'release/*'], namespace_path: '**'x}
  repositories: ['{claims.namespace_path}/*']
  may: [push]
""".replace("'**'x", "'acme*'")
    made = policy(tmp_path, text)
    name = RepositoryName("acme/app")
    good = {"ref": "release/1", "namespace_path": "acme"}
    assert made.decide(workload(**good), "create", name).allowed
    for wrong in ({"ref": "release/1/2"}, {"ref": "other"}, {"namespace_path": "acme2"}):
        assert not made.decide(workload(**good | wrong), "create", name).allowed, wrong
    assert not made.decide(workload(ref="main"), "create", name).allowed
    assert made.claims == {"ref", "namespace_path"}


def key(owner: Principal | None, *rights: Right, repositories: str = "team/**") -> Principal:
    return Principal("key:ci", bound=Bound((RepositoryPattern(repositories),), frozenset(rights), owner))


def test_a_key_may_what_it_was_made_for_and_its_owner_may_now(tmp_path: Path) -> None:
    text = """\
- {who: user:alice, repositories: ['**'], may: [pull, push]}
- {who: key:ci, repositories: ['team/secret'], deny: [pull]}
"""
    made = policy(tmp_path, text)
    assert allowed(made, key(ALICE, "pull", "delete")) == {"pull"}, "no more than its owner, rules or not"
    assert allowed(made, key(ALICE, "pull"), RepositoryName("other/app")) == set()
    assert allowed(made, key(ALICE, "pull"), RepositoryName("team/secret")) == set()
    assert allowed(made, key(Principal("user:bob"), "pull", "create")) == set()
    assert allowed(made, key(None, "pull", "create")) == {"pull", "create"}
    assert allowed(made, key(None, "admin", repositories="**"), None) == {"admin"}
    assert allowed(made, key(None, "admin"), None) == set()


def test_it_is_said_whether_a_key_its_owner_or_a_rule_decides(tmp_path: Path) -> None:
    text = """\
- {who: user:alice, repositories: ['**'], may: [pull, push]}
- {who: key:ci, repositories: ['team/secret'], deny: [pull]}
"""
    made = policy(tmp_path, text)

    def why(principal: Principal, name: RepositoryName = APP) -> str:
        return made.decide(principal, "pull", name).reason

    operators = key(None, "pull", "create", "overwrite")
    assert why(operators) == "the API key ci was made by the operator for push, pull on team/**"
    assert (
        why(operators, RepositoryName("other/app"))
        == "the API key ci was made for push, pull on team/** only: key:ci to pull from other/app"
    )
    assert why(key(ALICE, "create")).startswith("the API key ci was made for create on team/** only")
    assert why(operators, RepositoryName("team/secret")).startswith("access rule 2 (line 2) denies it")
    assert why(key(ALICE, "pull")) == "access rule 1 (line 1) grants it (the owner of key:ci)"
    assert why(key(Principal("user:bob"), "pull")).startswith("no access rule grants user:bob to pull")
    assert "the owner of key:ci" in why(key(Principal("user:bob"), "pull"))


def test_without_rules_it_is_said_who_decides_instead() -> None:
    explains = [
        (Policy.open(), "anonymous", True, "there are no access rules, so everything is allowed"),
        (
            Policy.of_tokens(),
            "token:alice",
            True,
            "what the token server says (access.token_server; ",
        ),
        (Policy.of_tokens(), "user:alice", False, "no access rule grants user:alice to pull from team/app"),
    ]
    for made, who, is_allowed, reason in explains:
        found = explained(made, Principal(who), "pull", APP, None)
        assert (found.allowed, found.rule, found.line) == (is_allowed, None, None)
        assert found.reason.startswith(reason)


def test_the_registry_as_a_whole_takes_a_rule_for_every_repository(tmp_path: Path) -> None:
    text = """\
- {who: user:alice, repositories: ['team/**'], may: [admin, list]}
- {who: user:root, repositories: ['**'], may: [admin]}
"""
    made = policy(tmp_path, text)
    assert allowed(made, ALICE, None) == {"list"}
    assert allowed(made, Principal("user:root"), None) == {"admin"}


def test_a_token_is_worth_asking_for_if_some_tag_may_be_pushed(tmp_path: Path) -> None:
    made = policy(tmp_path, "- {who: user:alice, repositories: ['**'], tags: ['pr-*'], may: [overwrite]}")
    assert not made.decide(ALICE, "overwrite", APP).allowed
    assert made.allows_any(ALICE, "overwrite", APP)
    assert not made.allows_any(ALICE, "create", APP)
    assert not made.allows_any(key(ALICE, "pull"), "overwrite", APP)


def test_a_decision_says_why(tmp_path: Path) -> None:
    made = policy(tmp_path, "- {who: user:alice, repositories: [a], may: [pull]}")
    assert made.decide(ALICE, "pull", RepositoryName("a")).reason == "access rule 1 (line 1) grants it"
    assert made.decide(ALICE, "create", APP).reason == "no access rule grants user:alice to push to team/app"
    assert made.decide(ALICE, "delete", APP, V1).reason == (
        "no access rule grants user:alice to delete team/app:v1"
    )


@given(
    st.builds(
        Principal,
        st.sampled_from(["anonymous", "user:alice", "issuer:a:b:c", "key:ci"]),
        st.frozensets(st.sampled_from(["group:a", "ldap-group:b c"])),
        st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(lambda one: tuple(sorted(one.items()))),
        st.none()
        | st.builds(
            Bound,
            st.just((RepositoryPattern("team/**"),)),
            st.frozensets(st.sampled_from(RIGHTS)),
            st.none() | st.just(ALICE),
        ),
    )
)
def test_a_principal_survives_the_way_through_a_token(who: Principal) -> None:
    assert Principal.of(who.document()) == who


def test_a_deny_is_told_apart_from_what_nothing_grants(tmp_path: Path) -> None:
    made = policy(
        tmp_path,
        """\
- {who: 'user:alice', repositories: ['team/**'], may: [push]}
- {who: anonymous, repositories: ['**'], tags: ['v*'], deny: [overwrite]}
""",
    )
    key = Principal("key:ci", bound=Bound((RepositoryPattern("**"),), frozenset({"approve"}), ALICE))
    for who in (ALICE, key, ANONYMOUS):
        denied = made.denial(who, "overwrite", APP, V1)
        assert denied is not None and denied.reason == (
            f"access rule 2 (line 2) denies it: {who} to overwrite team/app:v1"
        )
        assert made.denial(who, "create", APP, V1) is None
        assert made.denial(who, "overwrite", APP, LATEST) is None
    assert made.denial(OPERATOR, "overwrite", APP, V1) is None
    assert Policy.open().denial(ALICE, "overwrite", APP, V1) is None
