"""The table of layers in ARCHITECTURE.md, read: what the tests hold the code to is what people read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.architecture.source import CHECKOUT, Module, within

_HEAD = "| part | what it is | libraries at home there |"
_NAME = re.compile(r"`([a-z0-9_/]+)`")
# Where a distribution and the package in it are called differently.
_PACKAGES = {
    "PyJWT": "jwt",
    "PyYAML": "yaml",
    "prometheus-client": "prometheus_client",
    "python-ldap": "ldap",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the table."""

    parts: tuple[str, ...]
    libraries: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Whether a dotted name belongs to this line."""
        return any(within(name, part) for part in self.parts)


def layers() -> list[Layer]:
    """The lines, from the lowest."""
    text = (CHECKOUT / "ARCHITECTURE.md").read_text()
    _, found, rest = text.partition(_HEAD)
    assert found, "ARCHITECTURE.md has no table of layers"
    lines = rest.strip().splitlines()[1:]
    rows = [line.strip("|").split("|") for line in lines[: lines.index("")]]
    return [Layer(_parts(cells[0]), _libraries(cells[2])) for cells in rows]


def layer_of(module: Module, table: list[Layer]) -> int | None:
    """The number of the line that a module belongs to."""
    return line_of(module.name, table)


def line_of(name: str, table: list[Layer]) -> int | None:
    """The number of the line that names a module, or the package nearest to it."""
    nearest = max(
        (
            (len(part), number)
            for number, layer in enumerate(table)
            for part in layer.parts
            if within(name, part)
        ),
        default=None,
    )
    return None if nearest is None else nearest[1]


def _parts(cell: str) -> tuple[str, ...]:
    # `registry/errors`, `logs`: the package is written once a line.
    names = [name.strip("/").replace("/", ".") for name in _NAME.findall(cell)]
    package = names[0].partition(".")[0]
    return tuple(name if within(name, package) else f"{package}.{name}" for name in names)


def _libraries(cell: str) -> tuple[str, ...]:
    names = [name.strip() for name in cell.split(",") if name.strip()]
    return tuple(_PACKAGES.get(name, name) for name in names)
