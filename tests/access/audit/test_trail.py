from __future__ import annotations

from datetime import UTC, datetime

from registry import logs
from registry.access.audit import Entry
from registry.access.audit.chain import hash_of
from tests.access.audit.lines import Lines, trail


def test_lines_are_numbered_and_each_has_the_hash_of_the_one_before() -> None:
    sink = Lines()
    made = trail(sink)
    made.begin()
    made.note(Entry("tag.created", who="user:alice"))
    made.note(Entry("tag.deleted", who="user:bob"))
    made.end()
    assert [line["number"] for line in sink.lines] == [1, 2, 3, 4]
    assert [line["event"] for line in sink.lines] == [
        "audit.begun",
        "tag.created",
        "tag.deleted",
        "audit.ended",
    ]
    assert [line["process"] for line in sink.lines] == ["p1"] * 4
    assert sink.lines[0]["previous"] == ""
    for before, line in zip(sink.lines, sink.lines[1:], strict=False):
        assert line["previous"] == before["hash"]
    for line in sink.lines:
        assert line["hash"] == hash_of(line)
    assert sink.lines[0]["detail"] == "a test"
    assert sink.ended


def test_the_hash_is_what_the_page_says_it_is() -> None:
    line = {"b": 'ü"', "a": 1, "hash": "anything"}
    assert hash_of(line) == "aceb0bb58e12523eea8e98235a54bc7c345c377a322f563143cf4497770d36a9"


def test_where_nothing_was_noted_there_is_no_line() -> None:
    sink = Lines()
    made = trail(sink)
    made.end()
    assert (sink.lines, sink.ended) == ([], True)


def test_begun_once_it_is_not_begun_again() -> None:
    sink = Lines()
    made = trail(sink)
    made.begin()
    made.begin()
    made.note(Entry("tag.created"))
    assert [line["event"] for line in sink.lines] == ["audit.begun", "tag.created"]


def test_time_and_request_are_filled_in() -> None:
    sink = Lines()
    made = trail(sink)
    token = logs.request_id.set("r1")
    try:
        made.note(Entry("tag.created"))
        made.note(Entry("tag.created", request="other", at=datetime(2020, 1, 1, tzinfo=UTC)))
    finally:
        logs.request_id.reset(token)
    _, first, second = sink.lines
    assert (first["time"], first["request"]) == ("2026-01-02T03:04:07.000000Z", "r1")
    assert (second["time"], second["request"]) == ("2020-01-01T00:00:00.000000Z", "other")


def test_what_was_lost_is_said_in_the_lines_that_follow() -> None:
    sink = Lines()
    made = trail(sink)
    made.note(Entry("tag.created"))
    sink.lost = 7
    made.note(Entry("tag.deleted"))
    assert "lost" not in sink.lines[1]
    assert sink.lines[2]["lost"] == 7
    assert sink.lines[2]["hash"] == hash_of(sink.lines[2])
