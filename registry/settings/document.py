"""YAML of the small kind that people write by hand, read with the line of everything.

Every scalar stays the text that was written (`yes`, `010`, `1:30` and dates are traps of YAML 1.1); what a
setting makes of its text is the setting's affair. Anchors, aliases and tags are refused, so nothing grows
beyond what was written, and repeated keys are problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from registry.settings.problems import Location, Problem, Source, dotted

MAXIMUM_BYTES = 256 << 10
MAXIMUM_DEPTH = 16
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class NotADocument(Exception):
    """The text cannot be read as YAML of this kind; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line it stands on (of its key, where it has one), counted from 1."""

    value: str | list[Node] | dict[str, Node] | None
    line: int

    def plain(self) -> object:
        """The value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, location: Sequence[str | int]) -> Node:
        """The node at a location, or the nearest one above it."""
        node = self
        for step in location:
            inner = node.value
            if isinstance(inner, dict) and str(step) in inner:
                node = inner[str(step)]
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                node = inner[step]
            else:
                break
        return node


@dataclass(frozen=True, slots=True)
class Document:
    """What was read from the file `name`, and what is wrong that did not stop the reading (repeated keys)."""

    name: str
    root: Node
    problems: tuple[Problem, ...]


def read_document(data: bytes, name: str) -> Document:
    """The one document in `data`; `name` is the file's, for problems. Raises NotADocument."""
    if len(data) > MAXIMUM_BYTES:
        message = f"the file has {len(data)} bytes, and at most {MAXIMUM_BYTES >> 10} KiB are read"
        raise NotADocument(Problem("", message, Source.file(name)))
    try:
        return _Reader(name).read(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotADocument(Problem("", "the file is not UTF-8", Source.file(name, line))) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source = Source.file(name, mark.line + 1 if mark else None)
        raise NotADocument(Problem("", f"not YAML: {error.problem or error.context}", source)) from error
    except yaml.YAMLError as error:
        message = "the file holds characters that YAML does not allow"
        raise NotADocument(Problem("", message, Source.file(name))) from error


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[Problem] = []

    def read(self, text: str) -> Document:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._refusal("the file has more than one document", event)
                root = self._node(next(events), events, ())
        return Document(self._name, root or Node(None, 1), tuple(self._problems))

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Location) -> Node:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._refusal("anchors and aliases are not taken: write the value out", event)
        if getattr(event, "tag", None) is not None:
            raise self._refusal("tags (`!…`) are not taken: write the value alone", event)
        if len(path) > MAXIMUM_DEPTH:
            raise self._refusal(f"the file nests deeper than {MAXIMUM_DEPTH} levels", event)
        line = _line(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                items.append(self._node(inner, events, (*path, len(items))))
            return Node(items, line)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._entries(events, path), line)
        assert isinstance(event, yaml.ScalarEvent)
        if any("\ud800" <= one <= "\udfff" for one in event.value):
            raise self._refusal("an escape stands for half a character: write the character itself", event)
        is_null = event.style is None and event.value in _NULLS
        return Node(None if is_null else event.value, line)

    def _entries(self, events: Iterator[yaml.Event], path: Location) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, (*path, "")).value
            inner = (*path, key if isinstance(key, str) else "")
            node = self._node(next(events), events, inner)
            if not isinstance(key, str):
                self._problems.append(self._problem(path, "a key must be a plain word", event))
            elif key in entries:
                message = f"the key is written twice, first on line {entries[key].line}"
                self._problems.append(self._problem(inner, message, event))
            else:
                # The line of the key is where people look, and a long value begins below it.
                entries[key] = Node(node.value, _line(event))
        return entries

    def _problem(self, path: Location, message: str, event: yaml.Event) -> Problem:
        return Problem(dotted(path), message, Source.file(self._name, _line(event)))

    def _refusal(self, message: str, event: yaml.Event) -> NotADocument:
        return NotADocument(self._problem((), message, event))


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1
