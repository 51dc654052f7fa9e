"""docs/clients.md: a line for each trap, and the tests that prove it, which name each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs/clients.md"
# What is asked, what is answered, who needs it, and the proof.
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TRAPS = range(1, 89)
CITED = re.compile(r"\b[Tt]rap (\d+)")
DESCRIBED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def named() -> set[tuple[int, str]]:
    """Each trap with each file that its line names."""
    rows = ROW.finditer(DOCUMENT.read_text())
    return {(int(found[1]), name) for found in rows for name in re.findall(r"`([^`]+)`", found[5])}


def cited() -> Iterator[tuple[int, str]]:
    """Each trap with each file of tests that cites it in a docstring."""
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text()
        if file == Path(__file__) or not CITED.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, DESCRIBED):
                for number in CITED.findall(ast.get_docstring(node) or ""):
                    yield int(number), file.relative_to(TESTS).as_posix()


def test_every_trap_has_a_line_in_its_place() -> None:
    numbers = [int(found[1]) for found in ROW.finditer(DOCUMENT.read_text())]
    assert numbers == list(TRAPS)


def test_every_trap_has_a_proof() -> None:
    assert {trap for trap, _ in named()} == set(TRAPS)


def test_a_line_names_the_files_whose_tests_cite_it_and_no_others() -> None:
    assert named() == set(cited())
