"""The arithmetic: from what was measured in each round to ratios with their spread."""

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
    """What each round gave for each server, per unit of work; the three run in parallel."""

    moorage: tuple[float, ...]
    distribution: tuple[float, ...]
    control: tuple[float, ...]

    @property
    def ratio(self) -> Spread:
        """Moorage ÷ Distribution."""
        return Spread.of(ratios(self.moorage, self.distribution))

    @property
    def noise(self) -> Spread:
        """A second Distribution ÷ the first: what 1.00 looks like on this machine."""
        return Spread.of(ratios(self.control, self.distribution))


@dataclass(frozen=True, slots=True)
class Figure:
    """One workload: the server's processor seconds per unit, and those that the client waited."""

    name: str
    unit: str
    processor: Rounds
    waited: Rounds


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's quotient: rounds lie close in time, so that a slow spell of the machine cancels out."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def enough(spent: float, longest: float, budget: float) -> bool:
    """Whether another round that is as long as the longest would end after the time is up."""
    return spent + longest > budget


def per_unit(nanoseconds: int, units: float) -> float:
    """Seconds for each unit."""
    return nanoseconds / 1e9 / units
