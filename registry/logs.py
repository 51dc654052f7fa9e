"""The log: a line an event, written by a thread from a bounded queue, so that no reader can stop the server.

An event has a static name, `noun.verb`, and its data in fields. What libraries log comes out the same way.
Credentials never do: they are taken out of every value, wherever in it they stand.
"""

from __future__ import annotations

import collections
import json
import logging
import os
import re
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# The request that the running task answers; set by the middleware that names requests.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# Whatever may be a credential holds one of these; text without any is written as it is.
_TELLING = (
    *("authorization", "cookie", "bearer", "basic", "token", "password", "secret"),
    *("://", "signature", "x-amz-", "moorage_", "moorage.identity.", "eyj"),
)
_SECRET_KEY = re.compile(r"(?i)authorization|cookie|password|secret|(^|_)token$")
_HIDDEN = "[hidden]"


def _without_query(found: re.Match[str]) -> str:
    return f"{found[1]}?{_HIDDEN}" if len(found[2]) > 1 else found[0]


# No client may keep the server busy by what is logged of a request: each takes time in proportion to the
# text, since none goes again and again through what an attempt that began a little earlier has gone through.
_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # A header with its value, however it was quoted: to the end of the line, since a cookie may hold quotes.
    (
        re.compile(r"""(?i)((?:authorization|cookie)(?:\\*['"]\s*[:=,]|\s*[:=])\s*)[^\r\n]+"""),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"""(?i)((?:token|password|secret)(?:\\*['"]\s*[:=,]|=)\s*)[^\s&]+"""), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"\b([Bb]asic\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/=]{8,}"), rf"\1{_HIDDEN}"),
    # What we give out to log in with: an API key, whose name may be seen, and an identity token. And whatever
    # somebody has signed: a JSON object in base64url begins like that.
    (re.compile(r"(moorage_[a-z0-9.-]{1,63}_)[\w-]{40,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(moorage\.identity\.)[\w.-]{20,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]++\.[\w-]++\.[\w-]*+"), _HIDDEN),
    # The query of an absolute URL may be a signature; what stands before its @ is a password.
    (re.compile(r"""(\w://)[^\s/?#@"']+@"""), rf"\1{_HIDDEN}@"),
    (re.compile(r"""(\w://[^\s?"']++)([^\s"']*+)"""), _without_query),
    (
        re.compile(r"""(?i)(?<![\w-])(?=[\w-]*?(?:x-amz-[\w-]|signature=))([\w-]++=)[^&\s"']+"""),
        rf"\1{_HIDDEN}",
    ),
)
_LONGEST = 1024  # characters of what a client may make as long as it likes
_LOOKED_THROUGH = 4 * _LONGEST
_CUT = "…"
# So long a line waits for others that are written with it.
GATHER_SECONDS = 0.02
_WORTH_QUOTING = re.compile(r'[\s"=]|^$')


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    /,
    *,
    exception: BaseException | None = None,
    shown: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Log that `name` (a static `noun.verb`) happened, with its data; nearly free below the level.

    `shown` is what people read in the place of both: another `event`, and its data.
    """
    if logger.isEnabledFor(level):
        record = _record(name, level, logger.name, exception, **fields)
        record.shown = shown
        logger.handle(record)


def _record(
    name: str, level: int, source: str = __name__, exception: BaseException | None = None, /, **fields: Any
) -> logging.LogRecord:
    told = None if exception is None else (type(exception), exception, exception.__traceback__)
    record = logging.LogRecord(source, level, "", 0, name, None, told)
    record.fields = fields
    return record


def _is_telling(text: str) -> bool:
    # A dozen plain searches cost a tenth of one regular expression with ten branches.
    return any(map(text.lower().__contains__, _TELLING))


def redacted(text: str) -> str:
    """The text without the credentials in it."""
    if _is_telling(text):
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
    return text


def shortened(text: str) -> str:
    """What a client says of itself or asks for; what is longer than 1,024 characters ends there with `…`."""
    if len(text) <= _LONGEST:
        return text
    # Before it is cut: of half a credential nobody could tell any more that it is one.
    return redacted(text[:_LOOKED_THROUGH])[: _LONGEST - 1] + _CUT


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _HIDDEN if _SECRET_KEY.search(str(key)) else _without_secrets(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str | bytes) and _SECRET_KEY.search(str(value[0])):
            return [str(value[0]), _HIDDEN]
        return [_without_secrets(one) for one in value]
    return value if value is None or isinstance(value, int | float) else redacted(str(value))


def _document(record: logging.LogRecord) -> dict[str, Any]:
    """The record as fields: those of an event, or a library's message as a field of its own."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = getattr(record, "fields", None)
    document: dict[str, Any] = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
    if fields is None:
        document |= {"event": "library.logged", "logger": record.name, "message": record.getMessage()}
    else:
        document["event"] = record.msg
    if (request := getattr(record, "request_id", None)) is not None:
        document["request_id"] = request
    document |= fields or {}
    if record.exc_info and record.exc_info[1] is not None:
        document["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
    return document


_readable = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(default=str, separators=(",", ":")).encode


def in_json(value: Any) -> str:
    """In JSON, on one line; what steers a terminal or turns the direction of writing is escaped."""
    text = _readable(value)
    return text if text.isprintable() else _escaped(value).replace("\x7f", r"\u007f")


def as_json(record: logging.LogRecord) -> str:
    """One JSON object on one line."""
    document = _document(record)
    line = in_json(document)
    return in_json(_without_secrets(document)) if _is_telling(line) else line


def as_text(record: logging.LogRecord) -> str:
    """For people: the time of day, level, event, `key=value`, then the traceback on lines of its own."""
    document = _document(record)
    if shown := getattr(record, "shown", None):
        document = {"time": document["time"], "level": document["level"], **shown}
    document = _without_secrets(document)
    at, level, name = (document.pop(key) for key in ("time", "level", "event"))
    exception = document.pop("exception", "")
    values = ((key, value if isinstance(value, str) else in_json(value)) for key, value in document.items())
    told = "".join(f" {key}={_quoted(value)}" for key, value in values)
    below = (line if line.isprintable() else in_json(line)[1:-1] for line in exception.splitlines())
    return "\n".join([f"{at[11:-1]} {level.upper():7} {name}{told}", *below])


def _quoted(value: str) -> str:
    return in_json(value) if _WORTH_QUOTING.search(value) or not value.isprintable() else value


class Sink:
    """Puts finished lines into a file descriptor, and says whether they went out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, *, wait: bool) -> bool:
        """Write all of `data`; without `wait` only if the descriptor takes it at once."""
        view = memoryview(data)
        try:
            if not wait and not select.select([], [self._descriptor], [], 0)[1]:
                return False
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
        except OSError:
            # Nobody reads any more, or the disk below is full: the server lives on without a log.
            return False
        return True


class _Handler(logging.Handler):
    """Common to both: marks each record with the request that it belongs to."""

    def __init__(self, shape: Callable[[logging.LogRecord], str], sink: Sink) -> None:
        super().__init__()
        self._shape = shape
        self._sink = sink
        self.dropped = 0

    def createLock(self) -> None:  # noqa: N802 (logging's own name)
        """None is needed: what a record is put into takes one at a time by itself."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take the record, without the lock that the standard handlers hold."""
        record.request_id = request_id.get()
        self.emit(record)
        return True

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            text = self._shape(record)
        except Exception as error:  # noqa: BLE001 (a value that cannot be shown must not end the log)
            text = self._shape(_record("log.failed", logging.ERROR, logger=record.name, reason=repr(error)))
        return text.encode("utf-8", "backslashreplace") + b"\n"

    def _loss(self, lines: int) -> bytes:
        return self._line(_record("log.dropped", logging.WARNING, lines=lines))


class DirectHandler(_Handler):
    """Writes at once, and drops the line where it would block: for a process that may have no threads."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        before = self._loss(self.dropped) if self.dropped else b""
        if self._sink.write(before + self._line(record), wait=False):
            self.dropped = 0
        else:
            self.dropped += 1


class QueueHandler(_Handler):
    """Puts records into a bounded queue that a thread of its own empties; when full, drops and counts."""

    def __init__(
        self,
        shape: Callable[[logging.LogRecord], str],
        sink: Sink,
        *,
        capacity: int = 10_000,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        super().__init__(shape, sink)
        self._capacity = capacity
        self._gather_seconds = gather_seconds
        self._queue: collections.deque[logging.LogRecord] = collections.deque()
        self._filled = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._empty, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record, or count it."""
        if len(self._queue) >= self._capacity:
            self.dropped += 1
            return
        self._queue.append(record)
        if not self._filled.is_set():
            self._filled.set()

    def _empty(self) -> None:
        while True:
            self._filled.wait()
            # A thread woken for every line would take turns with the loop; so it lets some gather.
            self._ending.wait(self._gather_seconds)
            ending = self._ending.is_set()
            self._filled.clear()
            self._write()
            if ending:
                return

    def _write(self) -> None:
        lines: list[bytes] = []
        while self._queue or lines:
            if self._queue:
                lines.append(self._line(self._queue.popleft()))
            if len(lines) == 256 or not self._queue:
                # The count is taken before the write, which may block for as long as the reader likes.
                dropped, self.dropped = self.dropped, 0
                if dropped:
                    lines.append(self._loss(dropped))
                if not self._sink.write(b"".join(lines), wait=True):
                    self.dropped += dropped + len(lines)
                lines = []

    def end(self, within_seconds: float) -> None:
        """Write what is queued; give up after the time, since the reader may never read again."""
        self._ending.set()
        self._filled.set()
        self._thread.join(within_seconds)


@contextmanager
def writing(
    form: str = "json",
    level: str = "info",
    *,
    least: int = logging.NOTSET,
    threaded: bool = True,
    descriptor: int | None = None,
    capacity: int = 10_000,
    flush_seconds: float = 2.0,
) -> Iterator[None]:
    """Send everything that is logged to `descriptor` (standard output), as `json`, `text` or `auto`.

    Nothing below `least` is written, whatever level a logger has of its own. Unthreaded, a line that the
    reader does not take at once is dropped and counted: for the parent of workers, which forks and so may
    have no threads.
    """
    descriptor = sys.stdout.fileno() if descriptor is None else descriptor
    as_people_read = form == "text" or (form == "auto" and os.isatty(descriptor))
    shape, sink = as_text if as_people_read else as_json, Sink(descriptor)
    handler = QueueHandler(shape, sink, capacity=capacity) if threaded else DirectHandler(shape, sink)
    handler.setLevel(least)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # No line shows them, and to find them out takes half the time of making a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        if isinstance(handler, QueueHandler):
            handler.end(flush_seconds)
