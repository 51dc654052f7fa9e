"""What becomes of a run in which something cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import course, trials
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
    two = (Trial(("bad",), refused), Trial(("good",), lambda ground: [GOOD]))
    monkeypatch.setattr(course, "TRIALS", two)
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, "tmpfs"))
    run = Course(TINY, lambda line: None)
    run.run(["bad", "good"], ["memory"])
    assert run.problems == ["bad on tmpfs: it hung up"]
    assert [section.figures for section in run.sections] == [[GOOD]]
    text = Report(run.sections, run.problems, {}).markdown()
    assert "## Not measured\n\n- bad on tmpfs: it hung up\n" in text and "| good |" in text


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


def test_what_the_file_system_decides_is_tried_in_every_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = Trial(("once",), lambda ground: [replace(GOOD, name="once")])
    everywhere = Trial(("everywhere",), lambda ground: [replace(GOOD, name="everywhere")], everywhere=True)
    monkeypatch.setattr(course, "TRIALS", (once, everywhere))
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, name))
    run = Course(TINY, lambda line: None)
    run.run(["once", "everywhere"], ["memory", "disk"])
    assert [(section.title, [figure.name for figure in section.figures]) for section in run.sections] == [
        ("Memory, slow clients and start, storage on memory", ["once", "everywhere"]),
        ("Memory and slow clients, storage on disk", ["everywhere"]),
    ]


def test_bulk_transfers_and_those_who_wait_behind_them_are_tried_in_every_place() -> None:
    names = {name for trial in course.TRIALS if trial.everywhere for name in trial.names}
    assert {"memory-push", "memory-pull", "slow-manifest", "slow-failed", "slow-memory"} <= names


def test_each_trial_starts_its_servers_in_new_directories(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Server:
        def __init__(self, folder: Path) -> None:
            folder.mkdir()

        def stop(self) -> None:
            pass

    def starting(ground: Ground) -> list[Figure]:
        with ground.server("moorage"):
            return [GOOD]

    monkeypatch.setattr(trials, "SERVERS", {"moorage": Server})
    monkeypatch.setattr(course, "TRIALS", (Trial(("one",), starting), Trial(("two",), starting)))
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, name))
    run = Course(TINY, lambda line: None)
    run.run(["one", "two"], ["disk"])
    assert run.problems == []
