"""What becomes of a run in which something cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import course
from tests.bench.connection import Refused
from tests.bench.course import Course
from tests.bench.figures import Figure, Rounds, Unit
from tests.bench.places import NoPlace, Place
from tests.bench.report import Report
from tests.bench.scale import TINY
from tests.bench.trials import Ground, Trial

GOOD = Figure("good", "what went well", Unit("s"), Rounds((1.0,), (2.0,)))


def refused(ground: Ground) -> list[Figure]:
    raise Refused("it hung up")


def test_a_trial_that_fails_is_noted_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trials = (Trial(("bad",), refused), Trial(("good",), lambda ground: [GOOD]))
    monkeypatch.setattr(course, "TRIALS", trials)
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, "tmpfs"))
    run = Course(TINY, lambda line: None)
    run.run(["bad", "good"], ["memory"])
    assert run.problems == ["bad: it hung up"]
    assert [section.figures for section in run.sections] == [[GOOD]]
    text = Report(run.sections, run.problems, {}).markdown()
    assert "## Not measured\n\n- bad: it hung up\n" in text and "| good |" in text


def test_a_place_that_cannot_be_had_is_noted_and_the_next_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def place(name: str, wanted_bytes: int) -> Place:
        if name == "memory":
            raise NoPlace("memory: too small")
        return Place(tmp_path, "ext4")

    monkeypatch.setattr(course, "TRIALS", (Trial(("good",), lambda ground: [GOOD]),))
    monkeypatch.setattr(course, "place", place)
    run = Course(TINY, lambda line: None)
    run.run(["good"], ["memory", "disk"])
    assert run.problems == ["a place: memory: too small"]
    assert [section.title for section in run.sections] == ["Memory, slow clients and start, storage on ext4"]
