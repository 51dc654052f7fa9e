"""What goes into a kit: all that Moorage requires, packed as a package manager takes it."""

from __future__ import annotations

import re
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

import registry
from registry.bundles.kit import SHARED
from registry.bundles.wheels import (
    DIRECT,
    OPTIONAL,
    installed,
    shared_files,
    write_own_wheel,
    write_wheel,
)

PACKAGES = Path(registry.__file__).parents[1]


def names(requirements: list[str]) -> set[str]:
    """The names in a list of requirements."""
    return {re.split(r"[^A-Za-z0-9._-]", one)[0] for one in requirements}


def test_what_is_required_is_what_the_project_says() -> None:
    project = tomllib.loads((PACKAGES / "pyproject.toml").read_text())["project"]
    assert set(DIRECT) == names(project["dependencies"])
    assert set(OPTIONAL) == {
        one for extra in project["optional-dependencies"].values() for one in names(extra)
    }


def test_what_those_require_follows() -> None:
    assert {"starlette", "anyio", "multidict", "pydantic_core", "cffi"} <= {one.name for one in installed()}


@pytest.mark.parametrize("name", ["PyYAML", "starlette"])
def test_a_wheel_has_the_files_that_its_record_names(name: str, tmp_path: Path) -> None:
    one = distribution(name)
    with zipfile.ZipFile(write_wheel(one, tmp_path)) as wheel:
        assert wheel.testzip() is None
        listed = {line.split(",")[0] for line in wheel.read(record(wheel)).decode().splitlines()}
        assert listed == set(wheel.namelist())
        source = next(file for file in one.files or () if file.name == "__init__.py")
        assert wheel.read(str(source)) == Path(str(one.locate_file(source))).read_bytes()


def test_our_own_has_the_packages_and_the_command(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_own_wheel(PACKAGES, tmp_path, PACKAGES, SHARED)) as wheel:
        found = set(wheel.namelist())
        assert {"registry/cli/__main__.py", "storage/local.py", "registry/py.typed"} <= found
        assert not [one for one in found if one.startswith("tests") or "__pycache__" in one]
        points = next(one for one in found if one.endswith("entry_points.txt"))
        assert "moorage = registry.cli:main" in wheel.read(points).decode()


def test_what_is_shared_is_what_the_project_says() -> None:
    hatch = tomllib.loads((PACKAGES / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    told = hatch["wheel"]["shared-data"]
    assert all(place == f"share/moorage/{name}" for name, place in told.items())
    assert dict(shared_files(PACKAGES, told)) == dict(shared_files(PACKAGES, SHARED))


def test_no_key_is_shared(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in ("seal.key", "compose.yaml"):
        (tmp_path / "deploy" / name).touch()
    assert [name for name, _ in shared_files(tmp_path, ["deploy"])] == ["deploy/compose.yaml"]


def record(wheel: zipfile.ZipFile) -> str:
    """The name of its record."""
    return next(one for one in wheel.namelist() if one.endswith(".dist-info/RECORD"))
