from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import logs
from registry.access.audit import Entry

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))

# What the log looks for, put together in ways that nobody has thought of.
PIECES = st.sampled_from(
    [
        *("authorization", "cookie", "bearer ", "Basic ", "token=", "password: ", "secret=", "https://"),
        *("x-amz-credential=", "signature=", "@", "?", "&", " ", "'", '"', ":", "=", "abcDEF12345+/=", "\\"),
        *("[hidden]", "\n", "\x1b[31m", "ü", "\ud800", "\x7f", "/"),
    ]
)
WILD = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=700)


def test_what_does_not_apply_is_left_out_and_the_time_is_utc() -> None:
    document = Entry("tag.created", who="user:alice", tag="1", at=AT).document()
    assert document == {
        "time": "2026-01-02T01:04:05.000678Z",
        "event": "tag.created",
        "who": "user:alice",
        "tag": "1",
        "outcome": "done",
    }
    assert next(iter(document)) == "time"


def test_long_texts_are_cut() -> None:
    document = Entry("login.failed", who="u" * 10_000, agent="a" * 512).document()
    assert document["who"] == "u" * 511 + "…"
    assert document["agent"] == "a" * 512


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password=hunter2 rest", "password=[hidden] rest"),
        ("Bearer abcdefgh.ijk", "Bearer [hidden]"),
        ("https://me:pw@example.com/x", "https://[hidden]@example.com/x"),
    ],
)
def test_secrets_are_blanked_out(text: str, left: str) -> None:
    document = Entry("request.refused", agent=text, detail=text).document()
    assert (document["agent"], document["detail"]) == (left, left)


@given(WILD, WILD, WILD)
def test_the_log_finds_nothing_more_to_blank_out(who: str, agent: str, detail: str) -> None:
    """Otherwise a line in the log would not have its hash."""
    document = Entry("login.failed", who=who, agent=agent, detail=detail, at=AT).document()
    record = logging.LogRecord("x", logging.INFO, "", 0, "audit.noted", None, None)
    record.fields = {"entry": document}
    line = logs.as_json(record)
    assert json.loads(line)["entry"] == document
    assert line.isprintable()
    assert len(line) < 20_000


@given(WILD)
def test_an_entry_s_text_is_one_that_redaction_leaves_alone(text: str) -> None:
    for value in Entry("login.failed", detail=text).document().values():
        assert logs.redacted(value) == value
