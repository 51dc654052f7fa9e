"""The log: one line an event, no credentials in it, and never in the way."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import select
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry import logs
from registry.logs import event, request_id, writing

logger = logging.getLogger("registry.somewhere")


class Written:
    """A file that is logged into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    file = Written(tmp_path / "log")
    yield file
    os.close(file.descriptor)


@pytest.fixture(params=[True, False], ids=["threaded", "direct"])
def to_file(request: pytest.FixtureRequest, written: Written) -> Callable[..., Any]:
    """`writing` into the file, through the queue or directly."""

    def begin(form: str = "json", **options: Any) -> contextlib.AbstractContextManager[None]:
        return writing(form, descriptor=written.descriptor, threaded=request.param, **options)

    return begin


def test_an_event_is_one_line_with_its_fields(to_file: Callable[..., Any], written: Written) -> None:
    with to_file():
        event(logger, logging.INFO, "blob.pushed", repository="a/b", size_bytes=3, path=Path("/x"))
    (line,) = written.lines
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "event": "blob.pushed",
        "repository": "a/b",
        "size_bytes": 3,
        "path": "/x",
    }


def test_the_request_of_the_running_task_is_named(to_file: Callable[..., Any], written: Written) -> None:
    with to_file():
        token = request_id.set("r-1")
        event(logger, logging.INFO, "blob.pushed")
        request_id.reset(token)
        event(logger, logging.INFO, "blob.pushed")
    assert [line.get("request_id") for line in written.lines] == ["r-1", None]


def test_order_is_kept_and_all_is_written_at_the_end(to_file: Callable[..., Any], written: Written) -> None:
    with to_file():
        for number in range(3000):
            event(logger, logging.INFO, "number.said", number=number)
    assert [line["number"] for line in written.lines] == list(range(3000))


def test_levels(to_file: Callable[..., Any], written: Written) -> None:
    with to_file(level="warning"):
        event(logger, logging.INFO, "nothing.much")
        event(logger, logging.WARNING, "something.odd")
    assert [line["event"] for line in written.lines] == ["something.odd"]


def test_what_libraries_say_and_warn_comes_out_the_same_way(
    to_file: Callable[..., Any], written: Written
) -> None:
    with to_file():
        logging.getLogger("uvicorn.error").warning("Invalid %s received.\nReally.", "request")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = written.lines
    assert first["event"] == second["event"] == "library.logged"
    assert (first["logger"], first["message"]) == ("uvicorn.error", "Invalid request received.\nReally.")
    assert "DeprecationWarning: old" in second["message"]


def test_a_traceback_is_part_of_its_line(to_file: Callable[..., Any], written: Written) -> None:
    with to_file():
        try:
            raise KeyError("a\nb")
        except KeyError as error:
            event(logger, logging.ERROR, "request.failed", exception=error)
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    for line in written.lines:
        assert line["exception"].startswith("Traceback (most recent call last)")
        assert "KeyError" in line["exception"]


def test_a_value_that_cannot_be_shown_does_not_end_the_log(
    to_file: Callable[..., Any], written: Written
) -> None:
    class Awkward:
        def __str__(self) -> str:
            raise ValueError("no words")

    with to_file():
        event(logger, logging.INFO, "odd.seen", value=Awkward())
        logging.getLogger("library").warning("%d", "no number")
        event(logger, logging.INFO, "odd.seen", value="\ud800")
        event(logger, logging.INFO, "all.well")
    assert [line["event"] for line in written.lines] == ["log.failed", "log.failed", "odd.seen", "all.well"]


def test_for_people_a_line_reads_from_left_to_right(to_file: Callable[..., Any], written: Written) -> None:
    with to_file("text"):
        event(
            logger, logging.INFO, "blob.pushed", repository="a/b", size_bytes=3, note='two "words"', empty=""
        )
        event(logger, logging.WARNING, "line.forged", value="a\nb\x1b[2J", cookie="c=d")
        event(logger, logging.ERROR, "request.failed", exception=KeyError("k"))
    first, second, third, fourth = written.text.splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} INFO    blob\.pushed "
        r'repository=a/b size_bytes=3 note="two \\"words\\"" empty=""',
        first,
    )
    assert second.endswith(r'line.forged value="a\nb\u001b[2J" cookie=[hidden]')
    assert third.endswith("ERROR   request.failed")
    assert fourth == "KeyError: 'k'"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "steering", ["\x1b[2J", "\x7f", "\x9b2J", "\u202e", "\u2066", "\u2028", "\x85", "\U000e0041"]
)
def test_what_steers_a_terminal_is_never_written(
    to_file: Callable[..., Any], written: Written, form: str, steering: str
) -> None:
    value = f"é{steering}b"
    with to_file(form):
        event(logger, logging.WARNING, "line.forged", value=value, list=[value])
        event(logger, logging.WARNING, "line.forged", exception=KeyError(steering), exc=ValueError(value))
    text = written.text
    assert steering not in text
    assert all(line.isprintable() for line in text.split("\n"))
    if form == "json":
        assert written.lines[0]["value"] == value
    else:
        found = re.search(r'value=("[^"]*")', text)
        assert found is not None
        assert json.loads(found[1]) == value


def test_what_can_be_read_is_written_as_it_is(to_file: Callable[..., Any], written: Written) -> None:
    with to_file("text"):
        event(logger, logging.INFO, "blob.pushed", value="größe-サイズ")
    assert "value=größe-サイズ" in written.text


SECRET = "c2VjcmV0OnNlY3JldA=="
PAD = "Ab-_" * 6


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": f"Basic {SECRET}"},
        {"Authorization": None, "Cookie": ["session=" + SECRET, 'a="' + SECRET + '"']},
        {"headers": {"proxy-authorization": "Bearer " + SECRET, "set-cookie": f'a="x"; b="{SECRET}"'}},
        {"headers": [[b"authorization", f"Basic {SECRET}".encode()]]},
        {"headers": [(b"cookie", f"session={SECRET}".encode())]},
        {"seen": f"Authorization: Basic {SECRET}"},
        {"seen": f"{{'authorization': 'Basic {SECRET}'}}"},
        {"seen": f"Cookie: a=\"1\"; session='{SECRET}'"},
        {"seen": f"sent Bearer {SECRET} to it"},
        {"seen": f"sent basic {SECRET} to it"},
        {"location": f"https://bucket.example/key?X-Amz-Credential=me&X-Amz-Signature={SECRET}"},
        {"location": f"/key?a=b&X-Amz-Signature={SECRET}&c=d"},
        {"location": f"/key?next=X-Amz-Signature={SECRET}"},
        {"location": f"/key?my-x-amz-signature={SECRET}"},
        {"location": f"https://accounts.example/key?sv=1&sig={SECRET}"},
        {"url": f"https://me:{SECRET}@registry.example/v2/"},
        {"path": f"/token?service=x&refresh_token={SECRET}"},
        {"password": SECRET, "token": SECRET, "client_secret": SECRET},
        {"nested": {"deeper": [{"access_token": SECRET}]}},
        {"path": f"/v2/moorage_ci.build-1_{PAD}{SECRET}/tags/list"},
        {"user_agent": f"job/1 (moorage.identity.{'0a' * 16}.{PAD}{SECRET})"},
        {"user_agent": f"job eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ.{PAD}{SECRET.rstrip('=')}"},
        {"exception": ValueError(f"cannot read header authorization: Basic {SECRET}")},
    ],
)
def test_no_credential_appears(
    to_file: Callable[..., Any], written: Written, form: str, fields: dict[str, Any]
) -> None:
    with to_file(form):
        event(logger, logging.INFO, "something.seen", **fields)
        logging.getLogger("library").info("saw %s", {key: str(value) for key, value in fields.items()})
    assert SECRET not in written.text
    assert SECRET.rstrip("=") not in written.text
    assert written.text.count("[hidden]") >= 2
    if form == "json":
        assert len(written.lines) == 2


@pytest.mark.parametrize(
    "repeated",
    [
        *(
            "a://",
            "a://b@",
            "x-amz-",
            "signature",
            "a=x-amz-",
            "authorization",
            "cookie\\\\",
            "token=",
            "token\\",
        ),
        *("bearer ", "basic ", "Basic abcdefgh", "secret' ", "a://b?"),
        *("moorage_", "moorage_a_", "moorage.identity.", "eyJ", "eyJa.", "eyJa.!", ".eyJ"),
    ],
)
def test_whoever_sends_what_looks_like_credentials_keeps_nobody_busy(repeated: str) -> None:
    text = repeated * ((256 << 10) // len(repeated))
    began = time.process_time()
    logs.redacted(text)
    assert time.process_time() - began < 2, "in proportion to the text it is a tenth; to its square, a minute"


@pytest.mark.parametrize(
    "harmless",
    [
        "/v2/team/token/manifests/latest?n=100",
        "Basic authentication is not configured",
        "the bearer has no right to push",
        "https://registry.example/v2/",
        "authorization failed for anonymous",
        "moorage_upstream_remaining, MOORAGE_ACCESS_TOKENS_SIGNING_KEY_FILES, moorage/0.1.0",
        "/v2/eyjafjalla/volcano.io/manifests/eyJ.1",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
)
def test_what_is_no_credential_stays(harmless: str) -> None:
    assert logs.redacted(harmless) == harmless


@pytest.fixture
def stuck() -> Iterator[tuple[int, int]]:
    """A pipe that nobody reads, full: its reading and its writing end."""
    reader, writer = os.pipe()
    flags = fcntl.fcntl(writer, fcntl.F_GETFL)
    fcntl.fcntl(writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"\n" * 65536):
            pass
    fcntl.fcntl(writer, fcntl.F_SETFL, flags)
    yield reader, writer
    os.close(reader)


class Reader:
    """Reads a pipe to its end, in a thread."""

    def __init__(self, descriptor: int) -> None:
        self._heard = b""
        self._thread = threading.Thread(target=self._read, args=(descriptor,))
        self._thread.start()

    def _read(self, descriptor: int) -> None:
        while piece := os.read(descriptor, 65536):
            self._heard += piece

    def lines(self) -> list[dict[str, Any]]:
        self._thread.join(60)
        return [json.loads(line) for line in self._heard.split(b"\n") if line]


@pytest.mark.parametrize("threaded", [True, False])
def test_a_reader_that_is_stuck_stops_nobody_and_hears_what_it_missed(
    stuck: tuple[int, int], threaded: bool
) -> None:
    reader, writer = stuck
    with writing(descriptor=writer, threaded=threaded, capacity=100, flush_seconds=60):
        # Would one of these wait for the reader, this test would never end.
        for number in range(1000):
            event(logger, logging.INFO, "number.said", number=number)
        heard = Reader(reader)
        if not threaded:
            select.select([], [writer], [], 60)
            event(logger, logging.INFO, "number.said", number=1000)
    os.close(writer)
    lines = heard.lines()
    said = [line for line in lines if line["event"] == "number.said"]
    dropped = [line for line in lines if line["event"] == "log.dropped"]
    assert sum(line["lines"] for line in dropped) + len(said) == (1000 if threaded else 1001)
    assert (100 <= len(said) < 500) if threaded else len(said) == 1
    assert dropped[0]["level"] == "warning"


def test_at_the_end_a_stuck_reader_is_given_up(stuck: tuple[int, int]) -> None:
    reader, writer = stuck
    with writing(descriptor=writer, flush_seconds=0.01):
        event(logger, logging.INFO, "number.said", number=1)
    # The thread, still writing, ends when somebody reads.
    heard = Reader(reader)
    for thread in threading.enumerate():
        if thread.name == "log":
            thread.join(60)
    os.close(writer)
    assert [line["number"] for line in heard.lines()] == [1]


@pytest.mark.parametrize("threaded", [True, False])
def test_nobody_reading_any_more_is_survived(threaded: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with writing(descriptor=writer, threaded=threaded):
        event(logger, logging.INFO, "number.said", number=1)
    os.close(writer)


def test_afterwards_logging_is_as_it_was(to_file: Callable[..., Any]) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with to_file(level="debug"):
        assert root.level == logging.DEBUG
    assert (root.handlers, root.level) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "log"]


@pytest.mark.parametrize(("terminal", "first"), [(True, r"\d\d:"), (False, r"\{")])
def test_auto_means_text_only_on_a_terminal(terminal: bool, first: str, written: Written) -> None:
    reader, descriptor = (
        os.openpty() if terminal else (os.open(written.path, os.O_RDONLY), written.descriptor)
    )
    with writing("auto", descriptor=descriptor):
        event(logger, logging.INFO, "all.well")
    assert re.match(first, os.read(reader, 4096).decode())
    os.close(reader)
    if terminal:
        os.close(descriptor)
