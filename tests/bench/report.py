"""What was measured, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Rounds, Spread

MARK = "<!-- Everything below this line is written by `make bench`. -->"
HEADINGS = (
    *("figure", "what", "Moorage ÷ Distribution", "goal", "met"),
    *("control", "Moorage", "Distribution", "waited", "rounds"),
)


@dataclass(slots=True)
class Section:
    """Figures of one place, and what could not be measured there; `whole` if all of it was tried."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    whole: bool = True

    def markdown(self, circumstances: Mapping[str, str]) -> str:
        """For people."""
        lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}", *map(row, self.figures), ""]
        if self.problems:
            lines += ["Not measured:", "", *(f"- {problem}" for problem in self.problems), ""]
        told = "; ".join(f"{name}: {value}" for name, value in circumstances.items())
        return "\n".join((f"## {self.title}", "", *lines, f"*{told}*")) + "\n"


@dataclass(frozen=True, slots=True)
class Report:
    """Sections, what else could not be measured, and under which circumstances all this came about."""

    sections: Sequence[Section]
    problems: Sequence[str]
    circumstances: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """For programs: what each round gave, the ratios, and whether the goals are met."""
        return {
            "circumstances": dict(self.circumstances),
            "problems": [*self.problems, *(one for section in self.sections for one in section.problems)],
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
        return "\n".join(section.markdown(self.circumstances) for section in self.sections)

    def write(self, path: Path) -> None:
        """Put the sections that are whole below the mark, in the place of the older ones.

        What people wrote above the mark stays, and so do sections that this run has not measured.
        """
        text = path.read_text() if path.exists() else "# Benchmarks\n"
        above, _, below = text.partition(MARK)
        found = {one.partition("\n")[0]: f"## {one.strip()}\n" for one in f"\n{below}".split("\n## ")[1:]}
        found |= {one.title: one.markdown(self.circumstances) for one in self.sections if one.whole}
        path.write_text("\n".join((f"{above.rstrip()}\n", f"{MARK}\n", *found.values())))


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
