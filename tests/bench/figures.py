"""The arithmetic: from what was measured in each round to ratios with their spread, and their goals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of what several rounds gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        if not values:
            raise ValueError("there is no spread of nothing")
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each round gave for each server; they run in parallel, but there may be no control."""

    moorage: tuple[float, ...]
    distribution: tuple[float, ...]
    control: tuple[float, ...] = ()

    @property
    def ratio(self) -> Spread | None:
        """Moorage ÷ Distribution; None where Distribution's is nothing."""
        return Spread.of(ratios(self.moorage, self.distribution)) if all(self.distribution) else None

    @property
    def noise(self) -> Spread | None:
        """A second Distribution ÷ the first: what 1.00 looks like on this machine."""
        return Spread.of(ratios(self.control, self.distribution)) if self.control else None

    def inverse(self) -> Rounds:
        """The units that went through in a second, of the seconds that each took."""
        return Rounds(
            *(tuple(1 / value for value in of) for of in (self.moorage, self.distribution, self.control))
        )


@dataclass(frozen=True, slots=True)
class Unit:
    """What a figure is measured in: `s / request`, `MiB`, `image / s` and the like."""

    name: str

    def text(self, value: float) -> str:
        """The amount as people read it; seconds in the unit in which they are easily read."""
        first, _, rest = self.name.partition(" ")
        if first != "s":
            digits = 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {self.name}".strip()
        for unit, factor in (("s", 1.0), ("ms", 1e3)):
            if value * factor >= 0.995:
                return f"{value * factor:.2f} {unit} {rest}".strip()
        return f"{value * 1e6:.0f} µs {rest}".strip()


@dataclass(frozen=True, slots=True)
class Goal:
    """What the middle of a figure should be: at most, or at least, `bound`."""

    bound: float
    of_ratio: bool = True
    at_least: bool = False

    def met(self, rounds: Rounds) -> bool:
        """Whether the ratio, or our own amount, is as it should be."""
        found = rounds.ratio if self.of_ratio else Spread.of(rounds.moorage)
        if found is None:
            return False
        return found.median >= self.bound if self.at_least else found.median <= self.bound

    def text(self, unit: Unit) -> str:
        """The goal for people."""
        bound = f"{self.bound:.2f}" if self.of_ratio else unit.text(self.bound)
        return f"{'≥' if self.at_least else '≤'} {bound}"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, its goal if it has one, and the seconds that the client waited for each unit."""

    name: str
    meaning: str
    unit: Unit
    rounds: Rounds
    goal: Goal | None = None
    waited: Rounds | None = None


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's quotient: rounds lie close in time, so that a slow spell of the machine cancels out."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def enough(spent: float, longest: float, budget: float) -> bool:
    """Whether another round that is as long as the longest would end after the time is up."""
    return spent + longest > budget


def per_unit(nanoseconds: int, units: float) -> float:
    """Seconds for each unit."""
    return nanoseconds / 1e9 / units
