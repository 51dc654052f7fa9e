"""docs/clients.md: a line for each trap, and a test behind each that says it has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/clients.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TRAPS = range(1, 89)


def lines() -> dict[int, tuple[str, ...]]:
    """Each trap's cells: what is asked, what is answered, who needs it, and the proof."""
    return {int(found[1]): found.groups()[1:] for found in ROW.finditer(DOCUMENT.read_text())}


def cited(file: Path) -> set[int]:
    """The traps that a test file cites in its docstrings."""
    return {int(number) for number in re.findall(r"\btrap (\d+)", file.read_text())}


def test_every_trap_has_a_line_in_its_place() -> None:
    numbers = [int(found[1]) for found in ROW.finditer(DOCUMENT.read_text())]
    assert numbers == list(TRAPS)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_has_the_proof_that_its_line_names(trap: int) -> None:
    proof = lines()[trap][-1]
    files = re.findall(r"`(test_\w+\.py)`", proof)
    assert files or proof.startswith("not yet: "), proof
    for name in files:
        assert trap in cited(ROOT / "tests/api" / name), f"{name} does not cite trap {trap}"


@pytest.mark.parametrize("file", sorted((ROOT / "tests/api").glob("test_*.py")), ids=lambda file: file.stem)
def test_a_trap_that_is_cited_names_the_file(file: Path) -> None:
    document = lines()
    for trap in cited(file):
        assert f"`{file.name}`" in document[trap][-1], f"the line of trap {trap} does not name {file.name}"
