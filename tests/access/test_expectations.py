from __future__ import annotations

from pathlib import Path

import pytest

from registry.access.expectations import read_expectations
from registry.errors import RequestInvalid


def written(folder: Path, text: str) -> str:
    """A file of expectations."""
    path = folder / "expectations.yaml"
    path.write_text(text)
    return str(path)


def test_an_expectation_is_of_somebody_who_asks(tmp_path: Path) -> None:
    text = """\
- {who: 'ldap:Eve', groups: ['ldap-group:Devs', 'group:a'], action: pull, repository: a/b, expect: deny}
- {who: anonymous, action: push, repository: a/b, tag: v1, expect: deny}
- {who: 'issuer:ci:x', claims: {ref: main}, action: push, repository: a/b, expect: allow}
"""
    found = read_expectations(written(tmp_path, text))
    assert [line for line, _ in found] == [1, 2, 3]
    assert found[0][1].who == "ldap:eve", "as directories' people are called in rules"
    assert found[0][1].groups == ("ldap-group:devs", "group:a")
    assert found[1][1].tag == "v1" and found[2][1].claims == {"ref": "main"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        # Each would be refused by every rule, and an expectation to be denied met for good.
        ({"who": "alice"}, "must be anonymous"),
        ({"who": "usr:alice"}, "must be anonymous"),
        ({"who": "group:a"}, "must be somebody who asks"),
        ({"who": "authenticated"}, "must be somebody who asks"),
        ({"who": "user:alice", "groups": "[a]"}, "must be anonymous"),
        ({"who": "user:alice", "groups": "['user:bob']"}, "must be a group with its source"),
        ({"repository": "a/b:v1"}, "a tag has a key of its own: repository: 'a/b', tag: 'v1'"),
        ({"repository": "A"}, "a repository name is made of"),
        ({"action": "fly"}, "must be 'pull'"),
    ],
)
def test_an_expectation_with_a_slip_in_it_is_refused(
    tmp_path: Path, change: dict[str, str], told: str
) -> None:
    one = {"who": "anonymous", "action": "pull", "repository": "a/b", "expect": "deny"} | change
    line = ", ".join(
        f"{key}: {value}" if value.startswith("[") else f"{key}: '{value}'" for key, value in one.items()
    )
    with pytest.raises(RequestInvalid) as caught:
        read_expectations(written(tmp_path, f"- {{{line}}}\n"))
    assert told in str(caught.value) and "expectations.yaml:1" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "# nothing yet\n", "who: anonymous\n"])
def test_a_table_that_expects_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestInvalid, match="begin"):
        read_expectations(written(tmp_path, text))
