"""What was measured, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Rounds, Spread

MARK = "<!-- Everything below this line is written by `make bench`. -->"


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a run, and under which circumstances they came about."""

    figures: Sequence[Figure]
    meanings: Mapping[str, str]
    circumstances: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """For programs: seconds per unit of each round, and the ratios."""
        return {
            "circumstances": dict(self.circumstances),
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "processor": rounds_document(figure.processor),
                    "waited": rounds_document(figure.waited),
                }
                for figure in self.figures
            ],
        }

    def json(self) -> str:
        """The document as text."""
        return json.dumps(self.document(), indent=2)

    def markdown(self) -> str:
        """For people."""
        lines = [
            "## Figures",
            "",
            "| workload | what | Moorage ÷ Distribution | control | Moorage | Distribution | waited |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for figure in self.figures:
            used = figure.processor
            ours, theirs = Spread.of(used.moorage), Spread.of(used.distribution)
            lines.append(
                f"| {figure.name} | {self.meanings[figure.name]} "
                f"| {spread(used.ratio)} | {spread(used.noise)} "
                f"| {amount(ours.median)} / {figure.unit} | {amount(theirs.median)} / {figure.unit} "
                f"| {figure.waited.ratio.median:.2f} |"
            )
        lines += ["", "## Circumstances", ""]
        lines += [f"- {name}: {value}" for name, value in self.circumstances.items()]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Put the figures below the mark; what people wrote above it stays."""
        above = path.read_text().partition(MARK)[0] if path.exists() else "# Benchmarks\n\n"
        path.write_text(f"{above.rstrip()}\n\n{MARK}\n\n{self.markdown()}")


def spread(values: Spread) -> str:
    """Median, and from where to where."""
    return f"**{values.median:.2f}** ({values.low:.2f} to {values.high:.2f})"


def rounds_document(rounds: Rounds) -> dict[str, Any]:
    """Seconds per unit of each round, and the ratios, for programs."""
    return {
        "moorage": rounds.moorage,
        "distribution": rounds.distribution,
        "control": rounds.control,
        "ratio": spread_document(rounds.ratio),
        "noise": spread_document(rounds.noise),
    }


def spread_document(values: Spread) -> dict[str, float]:
    """A spread for programs."""
    return {"median": values.median, "min": values.low, "max": values.high}


def amount(seconds: float) -> str:
    """Seconds in the unit in which they are easily read."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 0.995:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.0f} µs"
