from __future__ import annotations

import io
import json
import re
import sys
import time

import pytest

from registry.cli.progress import amount, reporting
from registry.work.operations import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# No fixture: pytest sets standard error anew behind those.
def shown(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Where a person sees what is written to standard error."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


STEPS = [
    Progress(1 << 20, 4 << 20, "bytes", "hashing [bold]x"),
    Progress(4 << 20, 4 << 20, "bytes", "hashing"),
]


def test_amounts_have_units() -> None:
    assert amount(Progress(3, 10)) == "3 of 10"
    assert amount(Progress(3)) == "3"
    assert amount(STEPS[0]) == "1MiB of 4MiB"


def test_programs_get_a_line_of_json_each(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(as_json=True) as report:
        for step in STEPS:
            report(step)
    written = capsys.readouterr()
    assert written.out == ""
    assert [json.loads(line) for line in written.err.splitlines()] == [
        {"progress": {"done": s.done, "total": s.total, "unit": "bytes", "text": s.text}} for s in STEPS
    ]


def test_what_is_waited_for_is_told_once_also_where_no_progress_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with reporting(as_json=False) as report:
        for waited in range(3):
            report(Progress(waited, 60, "seconds", "one is collecting"))
        report(Progress(0, None, "items", "links"))
        report(Progress(1, 60, "seconds", "other\x1b is collecting"))
    assert capsys.readouterr().err.splitlines() == ["one is collecting", "other\\x1b is collecting"]
    assert amount(Progress(12, 60, "seconds")) == "12s of 1m"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = shown(monkeypatch)
    with reporting(as_json=False) as report:
        report(STEPS[0])
    assert "1MiB of 4MiB" in terminal.getvalue()
    assert "[bold]x" in terminal.getvalue()


def test_what_is_waited_for_stands_above_the_bar_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = shown(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    told = f"{'x' * 100} is [bold]collecting"
    with reporting(as_json=False) as report:
        for waited in range(2):
            report(Progress(waited, 60, "seconds", told))
    assert terminal.getvalue().count(told) == 1
    assert "waiting" in terminal.getvalue()


def test_a_next_part_of_the_work_begins_a_new_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a part whose length is not known no time is told that is left."""
    terminal = shown(monkeypatch)
    with reporting(as_json=False) as report:
        for step in STEPS:
            report(step)
        terminal.truncate(0)
        report(Progress(3, None, "items", "counting"))
    *_, last = (line for line in terminal.getvalue().split("\r") if "counting" in line)
    assert " 3 " in last and re.search(r"\d:\d\d", last) is None


def test_how_fast_another_part_went_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = shown(monkeypatch)
    with reporting(as_json=False) as report:
        for done in range(5):
            report(Progress(done, 4, "items", "first"))
            elapse()
        terminal.truncate(0)
        report(Progress(1, 8, "items", "second"))
    *_, last = (line for line in terminal.getvalue().split("\r") if "second" in line)
    assert "1 of 8" in last and "-:--:--" in last


def elapse() -> None:
    """Have the clock go on, since two times that are the same make no speed."""
    began = time.monotonic()
    while time.monotonic() == began:
        pass


def test_a_total_that_grows_is_of_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fetched so far says how long the rest takes."""
    terminal = shown(monkeypatch)
    with reporting(as_json=False) as report:
        for done in range(5):
            report(Progress(done << 20, 4 << 20, "bytes", "first"))
            elapse()
        terminal.truncate(0)
        report(Progress(4 << 20, 8 << 20, "bytes", "second"))
    *_, last = (line for line in terminal.getvalue().split("\r") if "second" in line)
    assert "4MiB of 8MiB" in last and "-:--:--" not in last


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(as_json=False) as report:
        report(STEPS[0])
    assert capsys.readouterr() == ("", "")
