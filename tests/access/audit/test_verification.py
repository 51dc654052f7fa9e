from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.access.audit.chain import hash_of
from registry.access.audit.verification import ProcessReport
from tests.access.audit.lines import verified, written

Line = dict[str, Any]


def changed(line: bytes, *, rehash: bool = False, **fields: Any) -> bytes:
    """A line with other fields, and its hash made to fit them or not."""
    document = {**json.loads(line), **fields}
    if rehash:
        document["hash"] = hash_of(document)
    return json.dumps(document).encode() + b"\n"


def only(*files: list[bytes], partial: bool = False) -> ProcessReport:
    """The report on the one process of these files."""
    (process,) = verified(*files, partial=partial).processes
    return process


def test_a_whole_trail_is_sound() -> None:
    lines = written(entries=3)
    report = verified(lines)
    process = only(lines)
    assert report.sound
    assert (process.first, process.last, process.lines, process.missing) == (1, 5, 5, 0)
    assert process.ended
    assert process.head == json.loads(lines[-1])["hash"]
    assert process.begun == "2026-01-02T03:04:06.000000Z"
    assert (report.other, report.torn, report.truncated) == (0, 0, [])


def test_files_come_in_any_order_and_processes_are_mixed() -> None:
    one, two = written("one", 4), written("two", 2)
    mixed = [one[0], two[0], one[1], one[2], two[1]]
    rest = [two[2], one[3], two[3], *one[4:]]
    for files in ((mixed, rest), (rest, mixed)):
        report = verified(*files)
        assert report.sound
        assert {(process.process, process.lines) for process in report.processes} == {("one", 6), ("two", 4)}


def test_other_lines_do_no_harm_and_lines_may_be_carried_by_the_log() -> None:
    lines = [
        json.dumps({"time": "t", "level": "info", "event": "audit.noted", "entry": json.loads(line)}).encode()
        for line in written()
    ]
    log = [b'{"event": "http.request"}\n', b"Traceback\n", b"[1]\n", b"\n", *(line + b"\n" for line in lines)]
    report = verified(log)
    assert report.sound
    assert (report.other, report.torn) == (3, 0)


def test_a_line_behind_a_prefix_is_read() -> None:
    assert verified([b"2026-01-01T00:00:00Z stdout F " + line for line in written()]).sound


def test_the_same_json_written_in_another_way_is_the_same_line() -> None:
    lines = [json.dumps(dict(reversed(json.loads(line).items())), indent=None).encode() for line in written()]
    assert verified([line + b"\n" for line in lines]).sound


def test_a_process_without_its_end_is_sound_and_said_to_have_none() -> None:
    lines = written()[:-1]
    assert verified(lines).sound
    assert not only(lines).ended


def test_missing_lines_are_counted() -> None:
    lines = written(entries=8)
    process = only(lines[:3] + lines[5:7] + lines[8:])
    assert (process.missing, process.broken, process.sound) == (3, [], False)


def test_a_missing_beginning_counts_unless_it_is_not_asked_for() -> None:
    lines = written(entries=4)[3:]
    assert (only(lines).missing, only(lines).earlier) == (3, 0)
    process = only(lines, partial=True)
    assert (process.missing, process.earlier, process.sound) == (0, 3, True)
    assert only(lines[:1] + lines[2:], partial=True).missing == 1


def test_an_altered_line_is_named() -> None:
    lines = written(entries=4)
    lines[2] = changed(lines[2], who="user:mallory")
    process = only(lines)
    assert (process.altered, process.broken, process.missing) == ([3], [], 0)


def test_an_altered_line_with_a_hash_that_fits_breaks_the_chain_behind_it() -> None:
    lines = written(entries=4)
    lines[2] = changed(lines[2], who="user:mallory", rehash=True)
    process = only(lines)
    assert (process.altered, process.broken) == ([], [4])


def test_a_key_that_stands_twice_is_an_alteration() -> None:
    """Of two readers one would see alice, the other mallory."""
    lines = written()
    lines[1] = lines[1].replace(b'{"time"', b'{"who": "user:mallory", "time"', 1)
    assert only(lines).altered == [2]


def test_a_line_told_twice_or_moved_is_out_of_order() -> None:
    lines = written(entries=4)
    assert only(lines[:3] + lines[1:2] + lines[3:]).disordered == [2]
    moved = only([*lines[:2], lines[3], lines[2], *lines[4:]])
    assert not moved.sound


def test_the_same_file_twice_does_no_harm_and_another_beginning_does() -> None:
    lines = written(entries=4)
    assert verified(lines, lines).sound
    forged = [changed(line, rehash=True, who="user:mallory") for line in lines[:3]]
    assert not verified(lines, forged).sound


def test_a_line_behind_the_end_is_forged() -> None:
    lines = written()
    last = json.loads(lines[-1])
    more = changed(lines[-1], rehash=True, number=last["number"] + 1, previous=last["hash"], event="x")
    assert only([*lines, more]).broken == [last["number"] + 1]
    assert verified(lines, [more]).processes[0].broken == [last["number"] + 1]


def test_a_file_that_ends_in_the_middle_of_a_line_is_truncated() -> None:
    lines = written()
    report = verified([*lines[:-1], lines[-1][:40]])
    assert (report.truncated, report.sound) == (["file 0"], False)
    # All but the newline is a whole line.
    assert verified([*lines[:-1], lines[-1][:-1]]).sound


def test_what_a_cut_line_has_swallowed_is_read_all_the_same() -> None:
    one, two = written("one", 3), written("two", 3)
    glued = [*one[:2], one[2][:50] + two[0], *two[1:], *one[3:]]
    report = verified(glued)
    assert report.torn == 1
    assert {(process.process, process.missing) for process in report.processes} == {("one", 1), ("two", 0)}


def test_lines_of_which_the_process_says_that_they_were_lost_are_still_missing() -> None:
    lines = written(entries=4)
    told = changed(lines[4], lost=2)
    process = only([*lines[:2], changed(told, rehash=True)])
    assert (process.missing, process.lost, process.sound) == (2, 2, False)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"process": "p1", "number": true, "previous": "", "hash": ""}',
        b'{"process": "p1", "number": 1.0, "previous": "", "hash": ""}',
        b'{"process": 1, "number": 1, "previous": "", "hash": ""}',
        b'{"event": "audit.noted", "entry": 7}',
        b"[" * 10_000,
        b'{"' * 10_000,
        b"\xff\xfe\x00",
        b'{"process": "p1", "number": ' + b"9" * 5000 + b"}",
    ],
)
def test_no_line_is_too_odd(line: bytes) -> None:
    report = verified([*written(), line + b"\n"])
    assert report.sound
    assert report.other + report.torn == (1 if line else 0)


@pytest.mark.parametrize("number", [0, -1, 10**18, 10**30])
def test_numbers_that_no_line_has_are_alterations_and_count_nothing(number: int) -> None:
    lines = written()
    process = only([*lines, changed(lines[1], rehash=True, number=number)])
    assert (process.altered, process.missing) == ([number], 0)


Tamper = Callable[[list[bytes], st.DataObject], list[bytes]]


def alter(lines: list[bytes], data: st.DataObject) -> list[bytes]:
    at = data.draw(st.integers(0, len(lines) - 1))
    line = json.loads(lines[at])
    key = data.draw(st.sampled_from(sorted(line)))
    value = data.draw(st.text(max_size=5) | st.integers(-2, 12))
    lines[at] = changed(lines[at], rehash=key != "hash" and data.draw(st.booleans()), **{key: value})
    return lines


def remove(lines: list[bytes], data: st.DataObject) -> list[bytes]:
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=len(lines) - 1))
    return [line for number, line in enumerate(lines) if number not in gone]


def reorder(lines: list[bytes], data: st.DataObject) -> list[bytes]:
    return list(data.draw(st.permutations(lines)))


def insert(lines: list[bytes], data: st.DataObject) -> list[bytes]:
    copied = data.draw(st.sampled_from(lines))
    fields = data.draw(
        st.fixed_dictionaries(
            {},
            optional={"number": st.integers(1, 12), "who": st.text(max_size=3), "previous": st.just("")},
        )
    )
    lines.insert(data.draw(st.integers(0, len(lines))), changed(copied, rehash=True, **fields))
    return lines


def shorten(lines: list[bytes], data: st.DataObject) -> list[bytes]:
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at]) - 2))] + b"\n"
    return lines


@pytest.mark.parametrize(
    "tamper", [alter, remove, reorder, insert, shorten], ids=lambda tamper: tamper.__name__
)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_done_to_lines_is_found(tamper: Tamper, data: st.DataObject) -> None:
    lines = written(entries=data.draw(st.integers(1, 6)))
    before = [json.loads(line) for line in lines]
    after = tamper(list(lines), data)
    found = []
    for line in after:
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append(None)
    report = verified(after)
    # Whoever rewrites everything to its end makes another trail; so the last hash has to be known.
    heads = [process.head for process in report.processes if process.ended]
    whole = report.sound and heads == [before[-1]["hash"]]
    ours = [line for line in found if isinstance(line, dict) and line.get("process") == "p1"]
    assert whole == (ours == before)
