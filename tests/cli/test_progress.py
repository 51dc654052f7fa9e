from __future__ import annotations

import io
import json
import sys

import pytest

from registry.cli.progress import amount, reporting
from registry.work.operations import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with reporting(as_json=False) as report:
        report(STEPS[0])
    assert "1MiB of 4MiB" in terminal.getvalue()
    assert "[bold]x" in terminal.getvalue()


def test_a_next_part_of_the_work_begins_a_new_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a part whose length is not known no time is told that is left."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with reporting(as_json=False) as report:
        for step in STEPS:
            report(step)
        terminal.truncate(0)
        report(Progress(3, None, "items", "counting"))
    *_, last = (line for line in terminal.getvalue().split("\r") if "counting" in line)
    assert "counting" in last and " 3 " in last and "-:--:--" in last


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(as_json=False) as report:
        report(STEPS[0])
    assert capsys.readouterr() == ("", "")
