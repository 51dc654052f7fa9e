"""What was measured, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Rounds, Spread

MARK = "<!-- Everything below this line is written by `make bench`. -->"
HEADINGS = (
    *("figure", "what", "Moorage ÷ Distribution", "goal", "met"),
    *("control", "Moorage", "Distribution", "waited", "rounds"),
)


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that came about in one place."""

    title: str
    figures: list[Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a run, what could not be measured, and under which circumstances they came about."""

    sections: Sequence[Section]
    problems: Sequence[str]
    circumstances: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """For programs: what each round gave, the ratios, and whether the goals are met."""
        return {
            "circumstances": dict(self.circumstances),
            "problems": list(self.problems),
            "sections": [
                {"title": section.title, "figures": [figure_document(figure) for figure in section.figures]}
                for section in self.sections
            ],
        }

    def json(self) -> str:
        """The document as text."""
        return json.dumps(self.document(), indent=2)

    def markdown(self) -> str:
        """For people."""
        lines = []
        for section in self.sections:
            lines += [
                f"## {section.title}",
                "",
                f"| {' | '.join(HEADINGS)} |",
                f"|{' --- |' * len(HEADINGS)}",
                *map(row, section.figures),
                "",
            ]
        if self.problems:
            lines += ["## Not measured", "", *(f"- {problem}" for problem in self.problems), ""]
        lines += ["## Circumstances", ""]
        lines += [f"- {name}: {value}" for name, value in self.circumstances.items()]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Put the figures below the mark; what people wrote above it stays."""
        above = path.read_text().partition(MARK)[0] if path.exists() else "# Benchmarks\n\n"
        path.write_text(f"{above.rstrip()}\n\n{MARK}\n\n{self.markdown()}")


def row(figure: Figure) -> str:
    """A figure's line of the table."""
    rounds, unit = figure.rounds, figure.unit
    waited = figure.waited.ratio if figure.waited else None
    cells = [
        figure.name,
        figure.meaning,
        spread(rounds.ratio, mark="**"),
        figure.goal.text(unit) if figure.goal else "",
        ("yes" if figure.goal.met(rounds) else "**no**") if figure.goal else "",
        spread(rounds.noise),
        unit.text(Spread.of(rounds.moorage).median),
        unit.text(Spread.of(rounds.distribution).median),
        f"{waited.median:.2f}" if waited else "",
        str(len(rounds.moorage)),
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: Spread | None, mark: str = "") -> str:
    """Median, and from where to where."""
    if values is None:
        return ""
    return f"{mark}{values.median:.2f}{mark} ({values.low:.2f} to {values.high:.2f})"


def figure_document(figure: Figure) -> dict[str, Any]:
    """A figure for programs."""
    found: dict[str, Any] = {
        "name": figure.name,
        "unit": figure.unit.name,
        "rounds": rounds_document(figure.rounds),
    }
    if figure.goal:
        found["goal"] = figure.goal.text(figure.unit)
        found["met"] = figure.goal.met(figure.rounds)
    if figure.waited:
        found["waited"] = rounds_document(figure.waited)
    return found


def rounds_document(rounds: Rounds) -> dict[str, Any]:
    """What each round gave, and the ratios, for programs."""
    return {
        "moorage": rounds.moorage,
        "distribution": rounds.distribution,
        "control": rounds.control,
        "ratio": spread_document(rounds.ratio),
        "noise": spread_document(rounds.noise),
    }


def spread_document(values: Spread | None) -> dict[str, float] | None:
    """A spread for programs."""
    return {"median": values.median, "min": values.low, "max": values.high} if values else None
