"""docs/durability.md says what each request costs, and that is what it costs."""

from __future__ import annotations

from pathlib import Path

from tests.architecture.pages import page
from tests.durability.costs import costs


async def test_the_page_says_what_each_request_costs(tmp_path: Path) -> None:
    rows = page("docs/durability.md").rows("request")
    assert {name: (int(objects), int(syncs)) for name, objects, syncs in rows} == await costs(
        tmp_path / "root"
    )
