"""What becomes of a run in which something cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import course, trials
from tests.bench.connection import Refused
from tests.bench.course import Course, Part
from tests.bench.figures import Figure, Rounds, Unit
from tests.bench.places import NoPlace, Place
from tests.bench.report import MARK, Report
from tests.bench.scale import TINY
from tests.bench.trials import Ground, Trial

GOOD = Figure("good", "what went well", Unit("s"), Rounds((1.0,), (2.0,)))


def parts(monkeypatch: pytest.MonkeyPatch, *trials: Trial) -> None:
    """There is one part, of these trials."""
    monkeypatch.setattr(course, "PARTS", {"some": Part("Some part", trials)})


def refused(ground: Ground) -> list[Figure]:
    raise Refused("it hung up")


def test_a_trial_that_fails_is_noted_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two = (Trial(("bad",), refused), Trial(("good",), lambda ground: [GOOD]))
    parts(monkeypatch, *two)
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, "tmpfs"))
    run = Course(TINY, lambda line: None)
    (section,) = run.run(["bad", "good"], ["memory"])
    assert section.problems == ["bad on tmpfs: it hung up"] and section.figures == [GOOD]
    report = Report([section], run.problems, {})
    assert (
        "Not measured:\n\n- bad on tmpfs: it hung up\n" in report.markdown() and report.document()["problems"]
    )
    assert "| good |" in report.markdown()


def test_a_place_that_cannot_be_had_is_noted_and_the_next_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def place(name: str, wanted_bytes: int) -> Place:
        if name == "memory":
            raise NoPlace("memory: too small")
        return Place(tmp_path, "ext4")

    parts(monkeypatch, Trial(("good",), lambda ground: [GOOD]))
    monkeypatch.setattr(course, "place", place)
    run = Course(TINY, lambda line: None)
    sections = list(run.run(["good"], ["memory", "disk"]))
    assert run.problems == ["a place: memory: too small"]
    assert [section.title for section in sections] == ["Some part, storage on ext4"]


def test_what_the_file_system_decides_is_tried_in_every_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = Trial(("once",), lambda ground: [replace(GOOD, name="once")])
    everywhere = Trial(("everywhere",), lambda ground: [replace(GOOD, name="everywhere")], everywhere=True)
    parts(monkeypatch, once, everywhere)
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, name))
    run = Course(TINY, lambda line: None)
    sections = run.run(["once", "everywhere"], ["memory", "disk"])
    assert [(section.title, [figure.name for figure in section.figures]) for section in sections] == [
        ("Some part, storage on memory", ["once", "everywhere"]),
        ("Some part, storage on disk", ["everywhere"]),
    ]


def test_what_takes_more_files_than_a_tmpfs_has_is_tried_on_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    part = Part("Some part", (Trial(("good",), lambda ground: [GOOD]),), on_disk=True)
    monkeypatch.setattr(course, "PARTS", {"some": part})
    kinds = {"memory": "tmpfs", "disk": "ext4", "bucket": "a bucket"}
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, kinds[name]))
    sections = Course(TINY, lambda line: None).run(["good"], list(kinds))
    assert [section.title for section in sections] == ["Some part, storage on ext4"]


def test_bulk_transfers_and_those_who_wait_behind_them_are_tried_in_every_place() -> None:
    trials = [trial for part in course.PARTS.values() for trial in part.trials]
    names = {name for trial in trials if trial.everywhere for name in trial.names}
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
    parts(monkeypatch, Trial(("one",), starting), Trial(("two",), starting))
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, name))
    run = Course(TINY, lambda line: None)
    (section,) = run.run(["one", "two"], ["disk"])
    assert section.problems == [] and section.whole


def test_a_page_keeps_the_sections_that_were_not_measured_or_not_all_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"# Ours\n\nFrom a person.\n\n{MARK}\n\n## First\n\nold\n\n## Some part, storage on ext4\n\nold too\n"
    )
    parts(monkeypatch, Trial(("one",), lambda ground: [GOOD]), Trial(("two",), lambda ground: [GOOD]))
    monkeypatch.setattr(course, "place", lambda name, wanted: Place(tmp_path, "ext4"))
    for names, is_new in ((["one"], False), (["one", "two"], True)):
        run = Course(TINY, lambda line: None)
        (section,) = run.run(names, ["disk"])
        Report([section], [], {"date": "today"}).write(page)
        text = page.read_text()
        assert text.startswith(f"# Ours\n\nFrom a person.\n\n{MARK}\n\n## First\n\nold\n\n## Some part")
        assert ("old too" in text) != is_new and ("date: today" in text) == is_new
