"""The lock files: free of addresses, complete for what the project asks for, the same where they overlap."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.equipment.catalogue import Tool, load

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.rglob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    """Each locked distribution and its exact version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE)
    return {normal(name): version for name, version in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(specifiers: list[str]) -> set[str]:
    return {normal(re.split(r"[^A-Za-z0-9._-]", specifier, maxsplit=1)[0]) for specifier in specifiers}


def test_there_are_lock_files() -> None:
    assert {"runtime.txt", "dev.txt"} <= {lock.name for lock in LOCKS}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_no_address_and_hashes_every_pin(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    requirements = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(requirements) == len(pins(lock)) > 0
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = pins(REQUIREMENTS / "runtime.txt"), pins(REQUIREMENTS / "dev.txt")
    assert wanted(project["project"]["dependencies"]) <= runtime.keys()
    assert wanted(project["dependency-groups"]["dev"]) <= dev.keys()


def test_the_developers_set_contains_the_run_time_set() -> None:
    runtime, dev = pins(REQUIREMENTS / "runtime.txt"), pins(REQUIREMENTS / "dev.txt")
    assert runtime.items() <= dev.items()


@pytest.mark.parametrize(
    "tool", [tool for tool in load().values() if tool.kind == "node"], ids=lambda t: t.name
)
def test_a_lock_of_modules_holds_no_address_and_hashes_each_of_them(tool: Tool) -> None:
    assert "://" not in tool.lock.read_text()
    modules = json.loads(tool.lock.read_text())["packages"]
    assert modules.pop("") == {"dependencies": {tool.requirement: tool.version}}
    assert modules[f"node_modules/{tool.requirement}"]["version"] == tool.version
    assert all(module["integrity"].startswith("sha512-") for module in modules.values())


def test_every_python_tool_is_locked_at_the_version_of_the_catalogue() -> None:
    for tool in load().values():
        if tool.kind == "python":
            assert pins(tool.lock)[normal(tool.requirement)] == tool.version
