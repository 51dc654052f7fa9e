"""What is missing: a skip for a person, a failure for CI, and one line in the list at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.equipment.absence import summary, unavailable
from tests.equipment.catalogue import Missing

PROBLEM = Missing("crane", "it has not been built", "make tools")
SKIPPED = pytest.skip.Exception
FAILED = pytest.fail.Exception


@pytest.fixture
def nothing_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("MOORAGE_REQUIRE_TOOLS", raising=False)


@pytest.mark.usefixtures("nothing_required")
def test_a_person_gets_a_skip_that_says_what_to_type() -> None:
    with pytest.raises(SKIPPED, match="missing crane: it has not been built; type: make tools"):
        unavailable(PROBLEM)


@pytest.mark.usefixtures("nothing_required")
@pytest.mark.parametrize("name", ["CI", "MOORAGE_REQUIRE_TOOLS"])
def test_where_everything_must_be_there_it_is_a_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(FAILED, match="missing crane"):
        unavailable(PROBLEM)


def test_the_list_names_each_thing_once() -> None:
    def report(told: str | tuple[str, int, str]) -> pytest.TestReport:
        return pytest.TestReport("a", ("a", 0, "a"), {}, "skipped", told, "setup")

    reports = [
        report(("conftest.py", 1, f"Skipped: {PROBLEM}")),
        report(str(PROBLEM)),
        report("assert the file is missing here"),
        report(str(Missing("root", "it mounts", "sudo make test"))),
    ]
    assert summary(reports) == [
        "missing crane: it has not been built; type: make tools  [2 tests]",
        "missing root: it mounts; type: sudo make test  [1 test]",
    ]


def test_no_test_skips_itself_past_this() -> None:
    """Elsewhere a proof could vanish from CI unseen; marks say at collection what a machine is not."""
    tests = Path(__file__).parents[1]
    word = "pytest." + "skip("
    found = {str(path.relative_to(tests)) for path in tests.rglob("*.py") if word in path.read_text()}
    assert found == {"equipment/absence.py"}
