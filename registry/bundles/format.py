"""The head of a bundle, `bundle.json`: what it is, what it builds on, and what its other files must be.

docs/bundle-format.md has the format to the byte. A head is written in one way only: keys sorted, no spaces, a
newline at the end; so the same state, parent and number make the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.bundles.errors import unsound
from registry.errors import RequestInvalid
from registry.model.documents import DEEPEST, LONGEST_NUMBER, is_too_deep
from registry.model.quoting import quoted
from registry.work.documents import plain, read_plain

FORMATS = {1: "1.0"}
"""What can be written, by its number; every minor version of the same major one can be read."""

FORMAT = FORMATS[max(FORMATS)]
"""What is written unless an older one is asked for."""

MAJOR = FORMAT.partition(".")[0]

HEAD = "bundle.json"
CONTENTS = "contents.jsonl"
INDEX = "index.json"
LAYOUT = "oci-layout"
README = "README.txt"
SUMS = "SHA256SUMS"
DESCRIBED = (CONTENTS, INDEX, LAYOUT, README)
"""The files whose hashes the head has."""

HEAD_BYTES = 1 << 20
MOST_MEDIA = 9999
LARGEST_FILE = (1 << 32) - 1
"""What FAT cannot go over; no file is larger where media have a size."""

_ID = re.compile(r"b-[0-9a-f]{20}")
_PARENT = re.compile(rf"{_ID.pattern}|inventory:[0-9a-f]{{64}}")
_STREAM = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LONGEST_STREAM = 64
_LONGEST_SOURCE = 255
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "copy it once more from where it was made, or ask for a new one"


@dataclass(frozen=True, slots=True)
class FileSum:
    """What a file must be."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What a bundle states, and how much of it lies in its own files; `blobs` are those besides manifests."""

    repositories: int
    tags: int
    manifests: int
    blobs: int
    bytes: int
    carried_files: int
    carried_bytes: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where content came from before: the bundle that brought it to the registry that wrote this one."""

    source: str
    stream: str
    number: int
    id: str


@dataclass(frozen=True, slots=True)
class Head:
    """What `bundle.json` says; `id` is made of all the rest.

    `parent` is the bundle whose statement the other side is believed to hold, or `inventory:` and the SHA-256
    of the inventory that it gave; None for a bundle that carries all it states. `supplements` is the bundle
    of whose files this one has those that were missing.
    """

    stream: str
    number: int
    source: str
    selection: Mapping[str, Any]
    totals: Totals
    media: int
    files: Mapping[str, FileSum]
    parent: str | None = None
    supplements: str | None = None
    provenance: Sequence[Origin] = ()
    format: str = FORMAT
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _id_of(_fields(self)))

    def __str__(self) -> str:
        return f"{self.id} ({self.stream} number {self.number})"

    def encode(self) -> bytes:
        """The bytes of the file. Raises RequestInvalid for a selection that is told at too great length."""
        content = canonical({**_fields(self), "id": self.id})
        if len(content) > HEAD_BYTES:
            raise RequestInvalid(
                f"the selection takes {len(content)} bytes in {HEAD}, which may have {HEAD_BYTES}; name fewer"
                " images in one bundle, or select them by patterns"
            )
        return content

    @classmethod
    def decode(cls, content: bytes) -> Head:
        """Read the file. Raises BundleInvalid."""
        if len(content) > HEAD_BYTES:
            raise unsound(HEAD, f"it is larger than {HEAD_BYTES >> 20} MiB", "this is no bundle")
        document = parse_object(content, HEAD)
        _require_version(document.get("format"))
        told = document.pop("id", None)
        known = {one.name: one.type for one in dataclasses.fields(cls) if one.init}
        hints = {
            "stream": str,
            "number": int,
            "source": str,
            "selection": dict[str, Any],
            "totals": Totals,
            "media": int,
            "files": dict[str, FileSum],
            "parent": str | None,
            "supplements": str | None,
            "provenance": tuple[Origin, ...],
            "format": str,
        }
        values = {}
        for name in known:
            if name not in document:
                raise unsound(HEAD, f"it lacks {name}", _AGAIN)
            try:
                values[name] = read_plain(hints[name], document[name])
            except (ValueError, TypeError) as error:
                raise unsound(HEAD, f"{name}: {error}", _AGAIN) from None
        head = cls(**values)
        head._check()
        # What a later minor version says besides is part of the id, too.
        if told != _id_of(document):
            raise unsound(HEAD, f"its id is {quoted(str(told))}, and by what it says it is not that", _AGAIN)
        object.__setattr__(head, "id", told)
        return head

    def _check(self) -> None:
        origins: tuple[Head | Origin, ...] = (self, *self.provenance)
        for origin in origins:
            _check_origin(origin)
        if self.parent is not None and _PARENT.fullmatch(self.parent) is None:
            raise unsound(HEAD, f"{quoted(self.parent)} is no parent", _AGAIN)
        if self.supplements is not None and not is_id(self.supplements):
            raise unsound(HEAD, f"{quoted(self.supplements)} is nothing to supplement", _AGAIN)
        if any(getattr(self.totals, one.name) < 0 for one in dataclasses.fields(Totals)):
            raise unsound(HEAD, "its totals are nonsense", _AGAIN)
        if not 1 <= self.media <= MOST_MEDIA:
            raise unsound(HEAD, f"{self.media} is no number of media", _AGAIN)
        for name in DESCRIBED:
            if name not in self.files:
                raise unsound(HEAD, f"it does not say what {name} must be", _AGAIN)
        for name, one in self.files.items():
            if name not in DESCRIBED or _SHA256.fullmatch(one.sha256) is None or one.size < 0:
                raise unsound(HEAD, f"what it says of {quoted(name)} is nonsense", _AGAIN)


def canonical(document: object) -> bytes:
    """JSON as bundles have it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def parse_object(content: bytes, file: str) -> dict[str, Any]:
    """A JSON object of a file, with its newline, as `canonical` writes it. Raises BundleInvalid.

    So no key stands twice, no byte is read in two ways, and what has the same meaning has the same bytes.
    Fractions, which every language writes differently, are in none.
    """
    if content.count(b"[") + content.count(b"{") > 100_000:
        raise unsound(file, "it is nested or long beyond all use", "this was not written by Moorage")
    # What can be read here can be read, written and shown anywhere, however deep the caller's own stack is.
    if is_too_deep(content):
        raise unsound(file, f"it is nested deeper than {DEEPEST} levels", "this was not written by Moorage")
    try:
        document = json.loads(
            content, parse_int=_whole, parse_float=_no_fraction, parse_constant=_no_fraction
        )
        is_canonical = canonical(document) == content
    except (ValueError, RecursionError) as error:
        raise unsound(file, f"it is no JSON that can be read ({error})", _AGAIN) from None
    if not isinstance(document, dict):
        raise unsound(file, "it is no JSON object", _AGAIN)
    if not is_canonical:
        raise unsound(file, "it is not written in the one way in which bundles are", _AGAIN)
    return document


def format_of(number: int | None) -> str:
    """The format of that number, which is written; the newest for None. Raises ValueError."""
    if number is not None and number not in FORMATS:
        known = ", ".join(map(str, sorted(FORMATS)))
        raise ValueError(f"bundles are not written in format {number} here; there is {known}")
    return FORMAT if number is None else FORMATS[number]


def is_id(text: str) -> bool:
    """Whether a text may be the id of a bundle."""
    return _ID.fullmatch(text) is not None


def is_stream(text: str) -> bool:
    """Whether a text may be the name of a stream."""
    return len(text) <= _LONGEST_STREAM and _STREAM.fullmatch(text) is not None


def _fields(head: Head) -> dict[str, Any]:
    named = {one.name: getattr(head, one.name) for one in dataclasses.fields(head) if one.init}
    return {name: plain(value) for name, value in named.items()}


def _id_of(document: Mapping[str, Any]) -> str:
    return f"b-{hashlib.sha256(canonical(document)).hexdigest()[:20]}"


def _check_origin(one: Head | Origin) -> None:
    if not is_stream(one.stream):
        raise unsound(HEAD, f"{quoted(one.stream)} is no name of a stream", _AGAIN)
    if not 1 <= one.number < 10**15:
        raise unsound(HEAD, f"{one.number} is no number of a bundle", _AGAIN)
    # It is shown to people, whose terminals must not be told what to do.
    if not 1 <= len(one.source) <= _LONGEST_SOURCE or not one.source.isprintable():
        raise unsound(HEAD, f"{quoted(one.source)} is no name of a source", _AGAIN)
    if isinstance(one, Origin) and not is_id(one.id):
        raise unsound(HEAD, f"{quoted(one.id)} is no id of a bundle", _AGAIN)


def _require_version(told: object) -> None:
    found = _VERSION.fullmatch(told) if isinstance(told, str) else None
    if found is None:
        raise unsound(HEAD, "it does not say which format it has", "this was not written by Moorage")
    if found[1] != MAJOR:
        raise unsound(
            HEAD,
            f"it has the format {told}, and this program reads {MAJOR}.x",
            f"import it with a newer moorage, or have it written by `moorage bundle export --format {MAJOR}`",
        )


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters")
    return int(text)


def _no_fraction(text: str) -> object:
    raise ValueError(f"{quoted(text)} is no whole number")
