"""The order in which `make test` hands modules to its processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.conftest import HERE, LONGEST, pytest_collection_modifyitems


def test_the_longest_come_first_and_the_others_stay_as_they_were() -> None:
    def item(name: str) -> Any:
        return SimpleNamespace(path=HERE / name)

    others = [item("work/test_schedule.py"), item("access/test_tokens.py")]
    last, first = item(LONGEST[-1]), item(LONGEST[0])
    items = [others[0], last, others[1], first]
    pytest_collection_modifyitems(items)
    assert items == [first, last, *others]


def test_each_of_the_longest_is_there() -> None:
    assert [name for name in LONGEST if not Path(HERE / name).is_file()] == []
