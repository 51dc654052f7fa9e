#!/usr/bin/env python3
"""Verify a bundle of Moorage with Python 3.9 or newer and nothing else; no network is touched.

    python3 verify_bundle.py [--key PUBLIC.pem ...] [--required N] [--json] PATH...

PATH is the folder of a bundle, each of the folders of its media, the folder above those, or a tar (`-` is one
on standard input). What a bundle must be is written in docs/bundle-format.md; all of it is checked, and every
problem is told with the file and what to do. Signatures are checked by `openssl`, with the keys given.

Exit codes: 0 sound; 1 something could not be checked, such as media that were not given, and the rest is
sound; 2 usage; 3 not signed as asked; 4 damaged. Without `--key` no signature is checked, and it says so.
"""

# It imports nothing of Moorage, and stays one file: it is copied to where there is nothing else.
from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

SOUND, UNCHECKED, USAGE, REFUSED, DAMAGED = 0, 1, 2, 3, 4
MAJOR = "1"
HEAD, CONTENTS, INDEX, LAYOUT, README, SUMS = (
    "bundle.json",
    "contents.jsonl",
    "index.json",
    "oci-layout",
    "README.txt",
    "SHA256SUMS",
)
DESCRIBED = (README, LAYOUT, INDEX, CONTENTS)
ORDER = (HEAD, "", *DESCRIBED, "blobs", SUMS)  # of a tar; "" are signatures

HEAD_BYTES, LINE_BYTES, MANIFEST_BYTES, SIGNATURE_BYTES = 1 << 20, 4 << 20, 32 << 20, 64 << 10
PIECE_BYTES = 1 << 20
MOST_BRACKETS, DEEPEST, LONGEST_NUMBER = 100_000, 64, 40
FOLDERS = ("blobs", "blobs/sha256", "blobs/sha512")
MOST_SIGNATURES, MOST_PROBLEMS, MOST_PADDING, PAX_BYTES = 64, 100, 1 << 20, 4 << 10
MOST_NAMED = 20

ID = re.compile(r"b-[0-9a-f]{20}")
PARENT = re.compile(r"b-[0-9a-f]{20}|inventory:[0-9a-f]{64}")
STREAM = re.compile(r"(?=.{1,64}$)[a-z0-9]+(?:[._-][a-z0-9]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
SIGNATURE = re.compile(r"bundle\.json\.([0-9a-f]{16})\.(sig|sigstore\.json)")
BLOB = re.compile(r"blobs/(?:sha256/([0-9a-f]{64})|sha512/([0-9a-f]{128}))(?:\.([0-9]{3,6}))?")
MEDIUM = re.compile(r"medium-([0-9]{3,4})")

OCI, DOCKER = "application/vnd.oci.", "application/vnd.docker."
INDEXES = {OCI + "image.index.v1+json", DOCKER + "distribution.manifest.list.v2+json"}
IMAGES = {OCI + "image.manifest.v1+json", DOCKER + "distribution.manifest.v2+json"}
ARTIFACTS = {OCI + "artifact.manifest.v1+json", "application/vnd.cncf.oras.artifact.manifest.v1+json"}
ELSEWHERE = {
    *(OCI + "image.layer.nondistributable.v1.tar" + end for end in ("", "+gzip", "+zstd")),
    *(DOCKER + "image.rootfs.foreign.diff.tar" + end for end in ("", ".gzip")),
}
MANIFEST_FIELDS = {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs"}
MANIFEST_FIELDS |= {"subject", "annotations"}
DESCRIPTOR_FIELDS = {"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"}
PLATFORM_TEXTS, PLATFORM_LISTS = ("architecture", "os", "os.version", "variant"), ("os.features", "features")
TOTALS = ("repositories", "tags", "manifests", "blobs", "bytes", "carried_files", "carried_bytes")

# What public keys begin with in DER, and how many bytes follow.
P256 = ("3059301306072a8648ce3d020106082a8648ce3d030107034200", 65)
ED25519 = ("302a300506032b6570032100", 32)

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04")
LINKS = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}

SAID = {
    SOUND: "sound",
    UNCHECKED: "NOT all that was asked for could be checked",
    REFUSED: "REFUSED: not signed as asked",
    DAMAGED: "DAMAGED",
}
ANYBODYS = "the files are sound, and may be anybody's: give the keys that you trust (--key)"
AGAIN = "copy it once more from where it was made, or ask for a new one"
AWAY = "it was not written by Moorage: take it away, or ask for a new bundle"


class Damaged(Exception):
    """A file is not what it must be."""

    def __init__(self, file: str, problem: str, remedy: str = AGAIN) -> None:
        super().__init__(file, problem, remedy)
        self.file, self.problem, self.remedy = file, problem, remedy


class Content(NamedTuple):
    """A line of a manifest or blob; `place` is its number among its kind."""

    place: int
    size: int
    repositories: tuple[str, ...]
    media_type: str
    sparse: bool
    pieces: tuple[tuple[int, int], ...]

    def names(self, key: bytes) -> list[str]:
        """The names of the files in which its bytes lie."""
        return [self.name(key, number) for number in range(len(self.pieces))]

    def name(self, key: bytes, number: int) -> str:
        """The name of the file with one piece of them."""
        name = f"blobs/{'sha256' if len(key) == 32 else 'sha512'}/{key.hex()}"
        return name if len(self.pieces) == 1 else f"{name}.{number:03d}"


class Key(NamedTuple):
    """A public key, and what is needed to use it."""

    file: str
    id: str
    der: bytes
    pem: bytes

    @property
    def is_ed25519(self) -> bool:
        """Whether it is of that kind, and not ECDSA P-256."""
        return self.der.hex().startswith(ED25519[0])


def canonical(document: object) -> bytes:
    """JSON as bundles have it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def shown(text: object) -> str:
    """A text that may be anything, as it can be printed."""
    said = str(text)
    return (said if said.isprintable() and said.isascii() else ascii(said))[:300]


def parse(content: bytes, file: str, *, is_ours: bool = True) -> dict[str, Any]:
    """A JSON object, read strictly; what is ours is written in one way only."""
    if content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        raise Damaged(file, "it is nested or long beyond all use", AWAY)
    level = 0
    # Not by an expression for texts, which takes as long as the square of what it does not find the end of.
    outside = content.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    for bracket in re.findall(rb"[][{}]", b"".join(outside)):
        level += 1 if bracket in b"[{" else -1
        if level > DEEPEST:
            raise Damaged(file, f"it is nested deeper than {DEEPEST} levels", AWAY)
    try:
        document = json.loads(
            content.decode(),
            object_pairs_hook=_once,
            parse_int=_whole_number,
            parse_float=_no_fraction if is_ours else _fraction,
            parse_constant=_no_fraction,
        )
        is_canonical = canonical(document) == content
        if is_ours and not is_canonical:
            raise Damaged(file, "it is not written in the one way in which bundles are")
    except (ValueError, RecursionError) as error:
        raise Damaged(file, f"it is no JSON that can be read ({shown(error)})") from None
    if not isinstance(document, dict):
        raise Damaged(file, "it is no JSON object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands in it twice")
    return dict(pairs)


def _whole_number(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters")
    return int(text)


def _fraction(text: str) -> float:
    _whole_number("0" * len(text))
    return float(text)


def _no_fraction(text: str) -> float:
    raise ValueError(f"{text[:40]} is no whole number")


def is_whole(value: object) -> bool:
    """Whether it is a size or a count."""
    return type(value) is int and 0 <= value < 1 << 63


def read_head(content: bytes) -> dict[str, Any]:
    """What `bundle.json` says, once it is all that it must be."""
    if len(content) > HEAD_BYTES:
        raise Damaged(HEAD, "it is larger than 1 MiB", AWAY)
    head = parse(content, HEAD)
    version = head.get("format")
    if not isinstance(version, str) or re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version) is None:
        raise Damaged(HEAD, "it does not say which format it has", AWAY)
    if version.partition(".")[0] != MAJOR:
        newer = "verify it with the verify_bundle.py of the moorage that wrote it"
        raise Damaged(HEAD, f"it has the format {version}, and this program reads {MAJOR}.x", newer)
    rest = {name: value for name, value in head.items() if name != "id"}
    if head.get("id") != f"b-{hashlib.sha256(canonical(rest)).hexdigest()[:20]}":
        raise Damaged(HEAD, "its id is not that of what it says: it was altered")
    totals, files, provenance = head.get("totals"), head.get("files"), head.get("provenance")
    sound = {
        "selection": isinstance(head.get("selection"), dict),
        "totals": isinstance(totals, dict) and all(is_whole(totals.get(one)) for one in TOTALS),
        "media": is_whole(head.get("media")) and 1 <= head["media"] <= 9999,
        "files": isinstance(files, dict)
        and set(files) == set(DESCRIBED)
        and all(map(_is_sum, files.values())),
        "parent": _is_null_or(head, "parent", PARENT),
        "supplements": _is_null_or(head, "supplements", ID),
        "provenance": isinstance(provenance, list)
        and all(_is_origin(one) and _is_text(one.get("id"), ID) for one in provenance),
        "stream, number or source": _is_origin(head),
    }
    wrong = [name for name, is_sound in sound.items() if not is_sound]
    if wrong:
        raise Damaged(HEAD, f"it lacks or garbles {', '.join(wrong)}")
    return head


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_null_or(head: dict[str, Any], name: str, pattern: re.Pattern[str]) -> bool:
    return name in head and (head[name] is None or _is_text(head[name], pattern))


def _is_sum(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("sha256"), SHA256) and is_whole(value.get("size"))


def _is_origin(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    source, number = value.get("source"), value.get("number")
    is_source = isinstance(source, str) and 1 <= len(source) <= 255 and source.isprintable()
    is_number = type(number) is int and 1 <= number < 10**15
    return is_source and is_number and _is_text(value.get("stream"), STREAM)


class Statement:
    """`contents.jsonl`, read line by line."""

    def __init__(self, media: int) -> None:
        self.manifests: dict[bytes, Content] = {}
        self.blobs: dict[bytes, Content] = {}
        self.tags: dict[tuple[str, str], bytes] = {}
        self._media, self._medium, self._number = media, 1, 0
        self._kind, self._last = "manifest", None
        self._lists: dict[tuple[str, ...], tuple[str, ...]] = {}

    def line(self, line: bytes) -> None:
        """Read the next line. Raises Damaged."""
        self._number += 1
        file = f"{CONTENTS}, line {self._number}"
        if len(line) > LINE_BYTES:
            raise Damaged(file, "it is too long", AWAY)
        document = parse(line, file)
        try:
            self._read(document)
        except KeyError as error:
            raise Damaged(file, f"it lacks {error.args[0]}") from None
        except ValueError as error:
            raise Damaged(file, str(error)) from None

    def all(self) -> Iterator[tuple[bytes, Content]]:
        """Manifests, then blobs."""
        yield from self.manifests.items()
        yield from self.blobs.items()

    @property
    def totals(self) -> dict[str, int]:
        """What the head must say of it."""
        names = {name for _, one in self.all() for name in one.repositories}
        sizes = [size for _, one in self.all() for _, size in one.pieces]
        stated = sum(one.size for _, one in self.all())
        kinds = (len(names), len(self.tags), len(self.manifests), len(self.blobs))
        return dict(zip(TOTALS, (*kinds, stated, len(sizes), sum(sizes))))  # noqa: B905 (not in Python 3.9)

    def _read(self, line: dict[str, Any]) -> None:
        kinds = ("manifest", "blob", "tag")
        kind = line["kind"]
        _require(kind in kinds, "its kind is none of manifest, blob and tag")
        if kind != self._kind:
            _require(
                kinds.index(kind) > kinds.index(self._kind), f"a {kind} stands behind what follows those"
            )
            self._kind, self._last = kind, None
        _require(_is_text(line["digest"], DIGEST), "its digest is none of sha256 or sha512")
        key = bytes.fromhex(line["digest"][7:])
        if kind == "tag":
            self._tag(line["repository"], line["tag"], key)
            return
        _require(is_whole(line["size"]), "its size is none")
        _require("sparse" not in line or (kind == "manifest" and line["sparse"] is True), "sparse is garbled")
        pieces = self._pieces(line)
        _require(
            not pieces or sum(size for _, size in pieces) == line["size"], "its pieces are not as large as it"
        )
        names = self._repositories(line["repositories"])
        found = self.manifests.get(key)
        if kind == "manifest":
            media_type = line["mediaType"]
            is_known = isinstance(media_type, str) and media_type in INDEXES | IMAGES | ARTIFACTS
            _require(is_known, "its media type is not one of a manifest")
            _require(line["size"] <= MANIFEST_BYTES, "it is too large for a manifest")
            _require(found is None, "its digest stands there twice")
            place = len(self.manifests)
            one = Content(place, line["size"], names, sys.intern(media_type), "sparse" in line, pieces)
            self.manifests[key] = one
            return
        is_same = found is None or (not pieces and line["size"] == found.size)
        _require(is_same, "it is a manifest, too, and must be as large, its bytes with the manifest's")
        self._in_order(key)
        self.blobs[key] = Content(len(self.blobs), line["size"], names, "", False, pieces)

    def _tag(self, name: Any, tag: Any, key: bytes) -> None:
        _require(isinstance(name, str) and isinstance(tag, str), "its repository or tag is no text")
        _require(TAG.fullmatch(tag) is not None, f"{shown(tag)} is no tag")
        named = self.manifests.get(key)
        is_stated = named is not None and name in named.repositories
        _require(is_stated, f"{shown(name)}:{tag} names a manifest that is not stated for that repository")
        self._in_order((name, tag))
        self.tags[name, tag] = key

    def _in_order(self, key: Any) -> None:
        _require(self._last is None or self._last < key, "it is not in order, or stands there twice")
        self._last = key

    def _repositories(self, told: Any) -> tuple[str, ...]:
        _require(isinstance(told, list) and len(told) > 0, "it is in no repository")
        _require(all(isinstance(one, str) for one in told), "its repositories are garbled")
        names = tuple(told)
        if names not in self._lists:
            for one in names:
                _require(
                    len(one) <= 255 and REPOSITORY.fullmatch(one), f"{shown(one)} is no name of a repository"
                )
            _require(sorted(set(names)) == told, "its repositories are not in order, or one is named twice")
            self._lists[names] = names
        return self._lists[names]

    def _pieces(self, line: dict[str, Any]) -> tuple[tuple[int, int], ...]:
        _require(not ("pieces" in line and "medium" in line), "it lies in one medium and in pieces")
        pieces = line.get("pieces", [])
        if "medium" in line:
            pieces = [{"medium": line["medium"], "size": line["size"]}]
        elif "pieces" in line:
            _require(isinstance(pieces, list) and len(pieces) > 1, "its pieces are none")
            _require(all(isinstance(one, dict) for one in pieces), "its pieces are none")
            _require(
                all(is_whole(one["size"]) and one["size"] for one in pieces), "one of its pieces is empty"
            )
        for one in pieces:
            known = is_whole(one["medium"]) and 1 <= one["medium"] <= self._media
            _require(known, f"it lies in a medium that is none of the {self._media}")
            _require(
                one["medium"] >= self._medium, "it lies in a medium before that of what stands before it"
            )
            self._medium = one["medium"]
        return tuple((one["medium"], one["size"]) for one in pieces)


def _require(is_so: object, problem: str) -> None:
    if not is_so:
        raise ValueError(problem)


def index_sum(statement: Statement) -> str:
    """The SHA-256 that `index.json` must have."""
    names: dict[bytes, list[str]] = {}
    for (repository, tag), key in statement.tags.items():
        names.setdefault(key, []).append(f"{repository}:{tag}")
    hasher, comma = hashlib.sha256(b'{"manifests":['), b""
    for key, one in statement.manifests.items():
        if not one.pieces:
            continue
        digest = f"{'sha256' if len(key) == 32 else 'sha512'}:{key.hex()}"
        entry: dict[str, Any] = {"digest": digest, "mediaType": one.media_type, "size": one.size}
        for name in names.get(key, [""]):
            if name:
                entry["annotations"] = {"org.opencontainers.image.ref.name": name}
            hasher.update(comma + canonical(entry)[:-1])
            comma = b","
    hasher.update(f'],"mediaType":"{OCI}image.index.v1+json","schemaVersion":2}}\n'.encode())
    return hasher.hexdigest()


class Place:
    """A folder or tar with files of the bundle; `sums` has the SHA-256 of each that was read.

    It is empty for a file whose name tells it already, and None for one that was told to be damaged.
    """

    def __init__(self, label: str = "", root: str = "", number: int = 0) -> None:
        self.label, self.root, self.number = label, root, number
        self.files: dict[str, int] = {}
        self.sums: dict[str, bytes | None] = {}
        self.signatures: set[str] = set()

    def file(self, name: str) -> str:
        """The name as it is told."""
        return f"{self.label}/{shown(name)}" if self.label else shown(name)

    def read(self, name: str) -> Iterator[bytes]:
        """The bytes of a file in the folder. Raises Damaged."""
        try:
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            with open(os.open(Path(self.root, name), flags), "rb", buffering=0) as opened:
                while piece := opened.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise Damaged(self.file(name), f"it cannot be read ({error.strerror})") from None

    def scan(self) -> list[Damaged]:
        """Find the files; what is none is told."""
        found: list[Damaged] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(Path(self.root, folder)) as entries:
                    for entry in sorted(entries, key=lambda one: one.name):
                        name = f"{folder}{entry.name}"
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            if name in FOLDERS:
                                folders.append(f"{name}/")
                            else:
                                found.append(
                                    Damaged(self.file(name), "no bundle has a folder of that name", AWAY)
                                )
                        elif stat.S_ISREG(status.st_mode):
                            self.files[name] = status.st_size
                        else:
                            kind = "a link" if stat.S_ISLNK(status.st_mode) else "a device, pipe or socket"
                            found.append(
                                Damaged(self.file(name), f"it is {kind}, and must be a plain file", AWAY)
                            )
            except OSError as error:
                found.append(Damaged(self.file(folder), f"it cannot be read ({error.strerror})"))
        return found


class Whole:
    """The bytes of a manifest or blob as they pass, in one file or several."""

    def __init__(self, key: bytes, keep: bool) -> None:
        self.key, self.next = key, 0
        self.hasher = hashlib.sha256() if len(key) == 32 else hashlib.sha512()
        self.kept: list[bytes] | None = [] if keep else None

    def update(self, piece: bytes) -> None:
        """Take bytes in."""
        self.hasher.update(piece)
        if self.kept is not None:
            self.kept.append(piece)


class Meter:
    """Bytes on their way, and what they came to."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hasher = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._chunks:
            self._hasher.update(piece)
            self.size += len(piece)
            yield piece

    @property
    def sum(self) -> bytes:
        """The SHA-256 of what passed."""
        return self._hasher.digest()


def drain(chunks: Iterable[bytes]) -> None:
    """Read to the end."""
    for _ in chunks:
        pass


def split(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Lines with their newlines; of one that is longer than `most` only the beginning."""
    rest = b""
    for piece in chunks:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
        rest = rest[: most + 1]
    if rest:
        yield rest


class Verifier:
    """What was found in one bundle so far."""

    def __init__(self) -> None:
        self.problems: list[dict[str, str]] = []
        self.more = 0
        self.is_damaged = self.is_refused = self.is_unchecked = False
        self.head: dict[str, Any] = {}
        self.head_bytes = b""
        self.signatures: dict[str, bytes] = {}
        self.not_given: list[str] = []  # folders of media; what was given can be sound without them
        self.signed = "NOT checked"
        self.signers: list[str] = []
        self.statement = Statement(1)
        self._is_stated = False  # contents.jsonl was read, and is what it must be
        self._has_contents = False
        self._whole: Whole | None = None

    def add(self, damage: Damaged, *, refused: bool = False) -> None:
        """Tell a problem."""
        self.is_refused, self.is_damaged = self.is_refused or refused, self.is_damaged or not refused
        if len(self.problems) < MOST_PROBLEMS:
            told = {"file": damage.file, "problem": damage.problem, "remedy": damage.remedy}
            self.problems.append(told)
        else:
            self.more += 1

    @property
    def count(self) -> int:
        """How many problems there are."""
        return len(self.problems) + self.more

    @property
    def exit(self) -> int:
        """The exit code."""
        if self.is_damaged:
            return DAMAGED
        is_unchecked = self.is_unchecked or bool(self.not_given)
        return REFUSED if self.is_refused else UNCHECKED if is_unchecked else SOUND

    def take(self, place: Place, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Check one file of a place; each problem is told."""
        try:
            if name in place.sums:
                raise Damaged(place.file(name), "it stands there twice", AWAY)
            if name == SUMS:
                self._check_sums(place, chunks)
            elif SIGNATURE.fullmatch(name):
                self._take_signature(place, name, small(place, name, size, chunks, SIGNATURE_BYTES))
            elif name == HEAD:
                place.sums[name] = None
                self._take_head(place, small(place, name, size, chunks, HEAD_BYTES))
                place.sums[name] = hashlib.sha256(self.head_bytes).digest()
            elif name in DESCRIBED:
                place.sums[name] = None
                place.sums[name] = self._take_described(place, name, chunks)
            else:
                place.sums[name] = None
                place.sums[name] = self._take_content(place, name, size, chunks)
        except Damaged as damage:
            self.add(damage)

    def _take_head(self, place: Place, content: bytes) -> None:
        if not self.head_bytes:
            self.head_bytes = content
            self.head = read_head(content)
            self.statement = Statement(self.head["media"])
        elif content != self.head_bytes:
            raise Damaged(place.file(HEAD), "it is of another bundle", "give the media of one bundle")

    def _take_signature(self, place: Place, name: str, content: bytes) -> None:
        if name in place.signatures:
            raise Damaged(place.file(name), "it stands there twice", AWAY)
        place.signatures.add(name)
        if self.signatures.setdefault(name, content) != content:
            raise Damaged(place.file(name), "it is not the same as on the medium before")
        if len(self.signatures) > MOST_SIGNATURES:
            raise Damaged(place.file(name), f"there are more than {MOST_SIGNATURES} signatures", AWAY)

    def _take_described(self, place: Place, name: str, chunks: Iterable[bytes]) -> bytes | None:
        self._has_contents = self._has_contents or name == CONTENTS
        if not self.head:
            return None
        if name != README and place.number > 1:
            raise Damaged(place.file(name), "it lies in another medium than it must", "move it to the first")
        meter, told, before = Meter(chunks), self.head["files"][name], self.count
        for line in split(meter, LINE_BYTES) if name == CONTENTS else ():
            try:
                self.statement.line(line)
            except Damaged as damage:
                self.add(damage)
        drain(meter)
        if meter.size != told["size"]:
            raise Damaged(place.file(name), f"it has {meter.size} bytes, and must have {told['size']}")
        if meter.sum.hex() != told["sha256"]:
            raise Damaged(place.file(name), f"it is not what {HEAD} says")
        if name == CONTENTS and self.count == before:
            self._is_stated = True
            counted = self.statement.totals
            if counted != {one: self.head["totals"].get(one) for one in counted}:
                self.add(Damaged(HEAD, f"its totals are not those of {CONTENTS}"))
        return meter.sum

    def _take_content(self, place: Place, name: str, size: int, chunks: Iterable[bytes]) -> bytes | None:
        """Check a manifest, blob or piece; its SHA-256, b"" where that is its name, None if it is damaged."""
        found = self.find(name)
        if found is None:
            if self._is_stated:
                raise Damaged(place.file(name), "it is no file of this bundle", AWAY)
            return None if self._has_contents else self._take_unstated(place, name, chunks)
        key, one, number = found
        medium, told = one.pieces[number]
        if place.number not in (0, medium):
            self.add(
                Damaged(place.file(name), "it lies in another medium than it must", f"move it to {medium}")
            )
        if number == 0:
            self._whole = Whole(key, bool(one.media_type))
        whole, self._whole = self._whole, None
        if size != told:
            raise Damaged(place.file(name), f"it has {size} bytes, and must have {told}")
        if whole is None or whole.key != key or whole.next != number:
            meter = Meter(chunks)  # a piece before it is missing, which is told elsewhere
            drain(meter)
            return meter.sum
        is_alone = len(one.pieces) == 1
        meter = Meter(chunks)
        seen = 0
        for piece in chunks if is_alone and len(key) == 32 else meter:
            whole.update(piece)
            seen += len(piece)
        if seen != told:
            raise Damaged(place.file(name), f"it has {seen} bytes, and must have {told}")
        whole.next += 1
        if whole.next < len(one.pieces):
            self._whole = whole
            return meter.sum
        if whole.hasher.digest() != key and is_alone:
            raise Damaged(place.file(name), "its bytes do not have the digest that is its name")
        if whole.hasher.digest() != key:
            pieces = f"the {len(one.pieces)} pieces of it, joined, do not have that digest"
            self.add(Damaged(place.file(name.rpartition(".")[0]), pieces))
        elif whole.kept is not None:
            for damage in references(self.statement, one, b"".join(whole.kept), place.file(name)):
                self.add(damage)
        return b"" if is_alone and len(key) == 32 else meter.sum

    def _take_unstated(self, place: Place, name: str, chunks: Iterable[bytes]) -> bytes:
        """Check a file of a medium that was given without the first one: by its name, or by SHA256SUMS."""
        found = BLOB.fullmatch(name)
        if found is None:
            raise Damaged(place.file(name), "it is no file of a bundle", AWAY)
        whole = hashlib.sha256() if found[1] else hashlib.sha512()
        meter = Meter(chunks)
        for piece in meter:
            whole.update(piece)
        if found[3] is None and whole.hexdigest() != (found[1] or found[2]):
            raise Damaged(place.file(name), "its bytes do not have the digest that is its name")
        return meter.sum

    def find(self, name: str) -> tuple[bytes, Content, int] | None:
        """The digest, line and number of piece of a file with bytes of the bundle."""
        found = BLOB.fullmatch(name)
        if found is None:
            return None
        key = bytes.fromhex(found[1] or found[2])
        for kind in (self.statement.manifests, self.statement.blobs):
            one = kind.get(key)
            # Not by going through all pieces, of which there may be many thousands.
            number = int(found[3] or 0)
            if one is not None and number < len(one.pieces) and name == one.name(key, number):
                return key, one, number
        return None

    def _check_sums(self, place: Place, chunks: Iterable[bytes]) -> None:
        file, last, left = place.file(SUMS), "", dict(place.sums)
        place.sums[SUMS] = None
        for number, line in enumerate(split(chunks, 4096), 1):
            found = re.fullmatch(rb"([0-9a-f]{64})  ([ -~]+)\n", line)
            name = found[2].decode() if found is not None else ""
            if found is None or name <= last:
                raise Damaged(file, f"line {number} is garbled, or not in order")
            last = name
            if name not in left:
                self.add(Damaged(file, f"line {number} lists {shown(name)}, which is not there"))
                continue
            told = left.pop(name)
            if told is None or found[1].decode() == (told.hex() or name.rpartition("/")[2]):
                continue
            content = self.find(name)
            if content is not None and len(content[1].pieces) > 1:
                self.add(Damaged(place.file(name), f"it does not have the SHA-256 that {SUMS} says"))
            else:
                self.add(Damaged(file, f"line {number} does not have the SHA-256 of {shown(name)}"))
        for name, told in left.items():
            if told is not None:
                self.add(Damaged(file, f"it lacks {shown(name)}"))

    def end(self, places: list[Place], *, is_tar: bool = False) -> None:
        """Tell what is not there."""
        for place in places:
            for name in (HEAD, README, SUMS):
                if name not in place.sums:
                    self.add(Damaged(place.file(name), "it is missing"))
        if not self.head:
            return
        numbers = {one.number for one in places}
        is_one = is_tar or self.head["media"] == 1
        absent = set() if is_one else set(range(1, self.head["media"] + 1)) - self._numbers(places)
        self.not_given = [f"medium-{number:03d}" for number in sorted(absent)]
        first = [] if 1 in absent else [one for one in places if one.number in (0, 1)]
        for name in (CONTENTS, INDEX, LAYOUT):
            if first and not any(name in one.sums for one in first):
                self.add(Damaged(first[0].file(name), "it is missing"))
        if self._is_stated and index_sum(self.statement) != self.head["files"][INDEX]["sha256"]:
            self.add(Damaged(INDEX, f"it does not list what {CONTENTS} says"))
        for key, one in self.statement.all() if self._is_stated else ():
            for number, name in enumerate(one.names(key)):
                if one.pieces[number][0] not in absent and not any(name in place.sums for place in places):
                    where = "" if 0 in numbers else f"medium-{one.pieces[number][0]:03d}/"
                    self.add(Damaged(where + name, "it is missing"))

    def _numbers(self, places: list[Place]) -> set[int]:
        """Which media are there: by the names of their folders, or by what lies in those of another name."""
        found = {one.number for one in places if one.number}
        unnamed = [one for one in places if not one.number]
        if any(name in one.sums for one in unnamed for name in (CONTENTS, INDEX, LAYOUT)):
            found.add(1)
        for key, one in self.statement.all() if self._is_stated and unnamed else ():
            for number, name in enumerate(one.names(key)):
                medium = one.pieces[number][0]
                if medium not in found and any(name in place.sums for place in unnamed):
                    found.add(medium)
        return found

    def check_signatures(self, keys: list[Key], required: int) -> None:
        """Check the signatures, as far as that was asked for."""
        openssl = shutil.which("openssl")
        if not keys:
            self.signed = "NOT checked: no --key was given"
        elif not self.head_bytes:
            self.signed, self.is_unchecked = f"NOT checked: there is no {HEAD}", True
        elif openssl is None:
            self.signed, self.is_unchecked = "NOT checked: there is no openssl here; install it", True
        else:
            for key in keys:
                self._check_key(openssl, key)
            if self.is_unchecked:
                return
            self.signed = f"{len(self.signers)} of the keys given signed it, and {required} must"
            if len(self.signers) < required:
                ours = {one.id for one in keys}
                found = {one[1] for name in self.signatures if (one := SIGNATURE.fullmatch(name))} - ours
                others = f"; it has signatures of others ({', '.join(sorted(found)[:5])})" if found else ""
                remedy = "have it signed, or give the keys that signed it (--key) if you trust them"
                self.add(Damaged(HEAD, self.signed + others, remedy), refused=True)

    def _check_key(self, openssl: str, key: Key) -> None:
        first, second = f"{HEAD}.{key.id}.sig", f"{HEAD}.{key.id}.sigstore.json"
        raw, altered = self.signatures.get(first), f"it is not the signature of this {HEAD}"
        if raw is not None and key.is_ed25519 and not has_rawin(openssl):
            self.signed = "NOT checked: this openssl is too old for Ed25519 (-rawin); install 3.0 or newer"
            self.is_unchecked = True
            return
        if raw is not None and is_signed(openssl, key, raw, self.head_bytes):
            self.signers.append(key.id)
        elif raw is not None:
            self.add(Damaged(first, altered), refused=True)
        if second in self.signatures and self.signatures[second] != sigstore(key, raw, self.head_bytes):
            self.add(Damaged(second, altered), refused=True)


def small(place: Place, name: str, size: int, chunks: Iterable[bytes], most: int) -> bytes:
    """The bytes of a file that is held in memory. Raises Damaged."""
    if size > most:
        raise Damaged(place.file(name), f"it is larger than {most} bytes", AWAY)
    return b"".join(chunks)


def references(statement: Statement, one: Content, content: bytes, file: str) -> Iterator[Damaged]:
    """What is wrong with a manifest, and with what it names."""
    try:
        named = list(descriptors(parse(content, file, is_ours=False), one.media_type))
    except Damaged as damage:
        yield damage
        return
    except (KeyError, ValueError) as error:
        yield Damaged(file, f"it is no {one.media_type}: {shown(error)}")
        return
    for field, digest, size, media_type in named:
        key = bytes.fromhex(digest[7:]) if DIGEST.fullmatch(digest) else b""
        found = [kind[key] for kind in (statement.manifests, statement.blobs) if key in kind]
        if field != "manifests":
            found = [each for each in found if not each.media_type]
        stated = {name for each in found for name in each.repositories}
        may_lack = one.sparse or (field != "config" and media_type in ELSEWHERE)
        lacking = sorted(set(one.repositories) - stated)
        if lacking and not may_lack:
            yield Damaged(file, f"it names {digest}, which {CONTENTS} does not state for {lacking[0]}")
        if any(each.size != size for each in found):
            yield Damaged(file, f"it says another size of {digest} than {CONTENTS}")
        if any(each.media_type and each.place >= one.place for each in found):
            yield Damaged(CONTENTS, f"{digest} stands behind {file}, which lists it")


def descriptors(manifest: dict[str, Any], media_type: str) -> Iterator[tuple[str, str, int, str]]:
    """The field, digest, size and media type of all that a manifest names, its subject aside."""
    _same_case(manifest, MANIFEST_FIELDS)
    _require(manifest.get("mediaType") in (None, media_type), "it says another media type")
    is_index, is_image = media_type in INDEXES, media_type in IMAGES
    own = {"manifests"} if is_index else {"config", "layers"} if is_image else {"blobs"}
    is_artifact = not is_index and not is_image
    version = manifest.get("schemaVersion")
    _require(is_artifact or (type(version) is int and version == 2), "its schemaVersion is not 2")
    _require(not is_index or "manifests" in manifest, "it has no manifests")
    _require(not is_image or manifest.get("config") is not None, "it has no config")
    _require(not is_artifact or manifest.get("mediaType") is not None, "it does not say its media type")
    _require(_has_notes(manifest), "its artifactType or its annotations are garbled")
    for field in ("config", "layers", "manifests", "blobs", "subject"):
        value = manifest.get(field)
        if value is None or (field == "blobs" and field not in own):
            continue
        _require(field in own or field == "subject", f"it must not have {field}")
        values = [value] if field in ("config", "subject") else value
        _require(isinstance(values, list), f"{field} is no list")
        for each in values:
            _require(isinstance(each, dict), f"{field} has no descriptor")
            _same_case(each, DESCRIPTOR_FIELDS)
            digest, size, kind = each["digest"], each["size"], each["mediaType"]
            pattern = DIGEST if str(digest).startswith(("sha256:", "sha512:")) else ANY_DIGEST
            is_sound = _is_text(digest, pattern) and is_whole(size) and _is_text(kind, MEDIA_TYPE)
            _require(is_sound and _is_described(each), f"{field} has a garbled descriptor")
            if field != "subject":
                yield field, digest, size, kind


def _has_notes(value: dict[str, Any]) -> bool:
    """Whether what a manifest or a descriptor says besides of its kind and for people can be read."""
    kind, notes = value.get("artifactType"), value.get("annotations")
    is_noted = notes is None or (
        isinstance(notes, dict) and all(isinstance(one, str) for one in notes.values())
    )
    return is_noted and (kind is None or kind == "" or _is_text(kind, MEDIA_TYPE))


def _is_described(value: dict[str, Any]) -> bool:
    """Whether the fields of a descriptor that may be missing can be read."""
    data, platform = value.get("data"), value.get("platform")
    try:
        is_whole_data = data is None or len(binascii.a2b_base64(data)) == value["size"]
        # Strictly, which the function is only from Python 3.11 on.
        is_whole_data = is_whole_data and (data is None or BASE64.fullmatch(data) is not None)
    except (TypeError, ValueError):
        return False
    if platform is not None:
        if not isinstance(platform, dict):
            return False
        _same_case(platform, {*PLATFORM_TEXTS, *PLATFORM_LISTS})
        if not all(isinstance(platform.get(one) or "", str) for one in PLATFORM_TEXTS):
            return False
    lists = [value.get("urls"), *((platform or {}).get(one) for one in PLATFORM_LISTS)]
    return is_whole_data and _has_notes(value) and all(map(_are_texts, lists))


def _are_texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _same_case(value: dict[str, Any], fields: set[str]) -> None:
    folded = {one.casefold() for one in fields}
    for key in value:
        _require(key in fields or key.casefold() not in folded, f"{shown(key)} is read as two things")


def read_key(path: str) -> Key:
    """A public key in PEM. Raises ValueError."""
    with open(path, "rb") as opened:
        pem = opened.read(SIGNATURE_BYTES)
    found = re.search(rb"-----BEGIN PUBLIC KEY-----([\sA-Za-z0-9+/=]+)-----END PUBLIC KEY-----", pem)
    der = base64.b64decode(found[1]) if found else b""
    if not any(der[:-length].hex() == begin for begin, length in (P256, ED25519)):
        raise ValueError(f"{path} is no public key of ECDSA P-256 or Ed25519 in PEM")
    return Key(path, hashlib.sha256(der).hexdigest()[:16], der, pem)


def sigstore(key: Key, raw: bytes | None, content: bytes) -> bytes:
    """The Sigstore bundle that belongs beside a raw signature."""
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    signature = {
        "messageDigest": {"algorithm": "SHA2_256", "digest": digest},
        "signature": base64.b64encode(raw or b"").decode(),
    }
    hint = base64.b64encode(hashlib.sha256(key.der).digest()).decode()
    return canonical(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "messageSignature": signature,
        }
    )


def has_rawin(openssl: str) -> bool:
    """Whether an openssl can check signatures of Ed25519."""
    told = subprocess.run([openssl, "pkeyutl", "-help"], capture_output=True, check=False)
    return b"-rawin" in told.stdout + told.stderr


def is_signed(openssl: str, key: Key, signature: bytes, content: bytes) -> bool:
    """Whether openssl finds the signature to be that key's of the content."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"key": key.pem, "signature": signature, "content": content}
        for name, written in files.items():
            Path(folder, name).write_bytes(written)
        by = {name: str(Path(folder, name)) for name in files}
        if key.is_ed25519:
            told = ["pkeyutl", "-verify", "-pubin", "-inkey", by["key"], "-rawin", "-in", by["content"]]
            told += ["-sigfile", by["signature"]]
        else:
            told = ["dgst", "-sha256", "-verify", by["key"], "-signature", by["signature"], by["content"]]
        return subprocess.run([openssl, *told], capture_output=True, check=False).returncode == 0


class Tar:
    """A tar read once from its beginning: plain files of ustar, with pax records for what that cannot say."""

    def __init__(self, opened: IO[bytes], tell: Callable[[Damaged], None]) -> None:
        self._opened, self._tell = opened, tell
        self._number = 0

    def files(self) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """The name, size and bytes of each. Raises Damaged where it cannot be read on."""
        pax: dict[str, str] = {}
        while True:
            header = self._exactly(512, "the tar")
            if not self._number and header.startswith(COMPRESSED):
                raise Damaged("the tar", "it is compressed, and a bundle never is", "unpack it before")
            self._number += 1
            if header == bytes(512):
                self._end()
                return
            name, size, kind = self._header(header)
            if kind == b"x":
                pax = self._pax(size)
                continue
            name = pax.get("path", name)
            size = int(pax.get("size", size))
            pax = {}
            file = shown(name.rstrip("/") or "/")
            is_file = kind in (b"0", b"\0")
            length = size if is_file or kind not in LINKS else 0
            if not is_file:
                what = LINKS.get(kind, "not a plain file")
                self._tell(Damaged(file, f"in the tar it is {what}, and must be a plain file", AWAY))
            elif name.startswith("/") or {"", ".", ".."} & set(name.split("/")) or "\\" in name:
                self._tell(Damaged(file, "its name in the tar leads out of the bundle", AWAY))
            chunks = self._chunks(length, file)
            if is_file:
                yield name, size, chunks
            drain(chunks)
            if self._exactly(-length % 512, file).strip(b"\0"):
                raise Damaged("the tar", f"something hides behind {file}", AWAY)

    def _header(self, header: bytes) -> tuple[str, int, bytes]:
        told = header[148:156].strip(b" \0")
        counted = sum(header) - sum(header[148:156]) + 8 * 32
        if not re.fullmatch(rb"[0-7]{1,8}", told) or int(told, 8) != counted:
            raise Damaged("the tar", f"header {self._number} is garbled: this is no tar, or it was altered")
        size = header[124:136].strip(b" \0")
        if header[257:263] != b"ustar\0" or not re.fullmatch(rb"[0-7]{1,12}", size):
            raise Damaged("the tar", f"header {self._number} is not of ustar or pax", AWAY)
        parts = [one.partition(b"\0")[0].decode("latin-1") for one in (header[345:500], header[:100])]
        return "/".join(one for one in parts if one) if parts[0] else parts[1], int(size, 8), header[156:157]

    def _pax(self, size: int) -> dict[str, str]:
        if size > PAX_BYTES:
            raise Damaged("the tar", f"header {self._number} has too many pax records", AWAY)
        content, records = self._exactly(size, "the tar"), {}
        is_padded = not self._exactly(-size % 512, "the tar").strip(b"\0")
        while content:
            found = re.match(rb"(\d{1,5}) (path|size)=", content)
            end = int(found[1]) if found else 0
            if (
                not is_padded
                or found is None
                or not found.end() < end <= len(content)
                or content[end - 1 : end] != b"\n"
            ):
                raise Damaged(
                    "the tar", f"header {self._number} has other pax records than path and size", AWAY
                )
            records[found[2].decode()] = content[found.end() : end - 1].decode("latin-1")
            content = content[end:]
        if not re.fullmatch(r"[0-9]{1,19}", records.get("size", "0")):
            raise Damaged("the tar", f"header {self._number} has a garbled size", AWAY)
        return records

    def _chunks(self, size: int, file: str) -> Iterator[bytes]:
        while size:
            piece = self._opened.read(min(size, PIECE_BYTES))
            if not piece:
                raise Damaged(file, "the tar ends in the middle of it")
            size -= len(piece)
            yield piece

    def _exactly(self, size: int, file: str) -> bytes:
        return b"".join(self._chunks(size, file))

    def _end(self) -> None:
        seen = 0
        while piece := self._opened.read(PIECE_BYTES):
            seen += len(piece)
            if piece.strip(b"\0") or seen > MOST_PADDING:
                raise Damaged("the tar", "something follows its end", AWAY)
        if seen < 512:
            raise Damaged("the tar", "it lacks its end")


def verify_tar(verifier: Verifier, opened: IO[bytes]) -> None:
    """Check a tar."""
    place, at = Place(), -1
    try:
        for name, size, chunks in Tar(opened, verifier.add).files():
            step = "" if SIGNATURE.fullmatch(name) else "blobs" if BLOB.fullmatch(name) else name
            now = ORDER.index(step) if step in ORDER else at
            if now < at or (now == at and step in (HEAD, *DESCRIBED, SUMS)) or (at < 0 and name != HEAD):
                verifier.add(Damaged(place.file(name), "it does not stand in the tar where it must"))
            at = max(at, now)
            verifier.take(place, name, size, chunks)
    except Damaged as damage:
        verifier.add(damage)
    except OSError as error:
        verifier.add(Damaged("the tar", f"it cannot be read ({error.strerror})"))
    verifier.end([place], is_tar=True)


def verify_folders(verifier: Verifier, places: list[Place]) -> None:
    """Check the folder of a bundle, or those of its media."""
    places.sort(key=lambda one: (one.number, one.label))
    for place in places:
        for damage in place.scan():
            verifier.add(damage)
    for place in places:
        for name in sorted(place.files):
            if name == HEAD or SIGNATURE.fullmatch(name):
                verifier.take(place, name, place.files.pop(name), place.read(name))
    for name in DESCRIBED:
        for place in places:
            if name in place.files:
                verifier.take(place, name, place.files.pop(name), place.read(name))
    for key, one in verifier.statement.all():
        for name in one.names(key):
            for place in places:
                if name in place.files:
                    verifier.take(place, name, place.files.pop(name), place.read(name))
                    break
    for place in places:
        for name in sorted(place.files, key=lambda one: (one == SUMS, one)):
            if verifier.find(name) is not None:
                verifier.add(Damaged(place.file(name), "it lies in another medium, too", AWAY))
                place.sums[name] = None
            else:
                verifier.take(place, name, place.files[name], place.read(name))
    verifier.end(places)


def folders(paths: Iterable[str]) -> list[Place]:
    """The folders of a bundle, or of its media, at or below the paths."""
    found: list[Place] = []
    for path in paths:
        inner = [one for one in sorted(os.listdir(path)) if MEDIUM.fullmatch(one)]
        is_above = inner and not Path(path, HEAD).exists()
        found += [Place(one, str(Path(path, one))) for one in inner] if is_above else [Place("", path)]
    for place in found:
        name = Path(place.root).resolve().name
        medium = MEDIUM.fullmatch(name)
        place.number = int(medium[1]) if medium else 0
        place.label = name if len(found) > 1 else ""
    return found


def not_given(verifier: Verifier) -> str:
    """Which media were not given, and what that means for the others."""
    names, media = verifier.not_given, verifier.head["media"]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    told = f"NOT given, of {media} media: {', '.join(names[:MOST_NAMED])}{more}"
    if names[0] == "medium-001":
        told += f"; only it has {CONTENTS}, so the others were checked by the names of files and by {SUMS}"
    return told


def report(verifier: Verifier, *, as_json: bool) -> str:
    """What was found, for people or for programs."""
    head, statement = verifier.head, verifier.statement
    elsewhere = [one for _, one in statement.all() if not one.pieces]
    there = {"files": len(elsewhere), "bytes": sum(one.size for one in elsewhere)}
    if as_json:
        document = {
            "exit": verifier.exit,
            "sound": verifier.exit == SOUND,
            "bundle": {
                name: head.get(name) for name in ("id", "stream", "number", "source", "format", "totals")
            },
            "believed_there": there,
            "signatures": {"result": verifier.signed, "keys": verifier.signers},
            "not_given": verifier.not_given,
            "problems": verifier.problems,
            "more_problems": verifier.more,
        }
        return json.dumps(document, indent=2)
    lines = []
    if head:
        lines.append(
            f"bundle {head['id']}: {head['stream']} number {head['number']} from {shown(head['source'])}"
        )
        lines.append(", ".join(f"{head['totals'][name]} {name.replace('_', ' ')}" for name in TOTALS))
    if elsewhere:
        lines.append(
            f"{there['files']} manifests and blobs with {there['bytes']} bytes are believed to be where the"
            " bundle goes; they do not lie in it, and were not checked"
        )
    lines.append(f"signatures: {verifier.signed}{''.join(f', {one}' for one in verifier.signers)}")
    lines += ["{file}: {problem}; {remedy}".format(**one) for one in verifier.problems]
    if verifier.more:
        lines.append(f"and {verifier.more} more problems")
    if verifier.not_given:
        lines.append(not_given(verifier))
    if verifier.not_given and not verifier.is_unchecked and verifier.exit == UNCHECKED:
        lines.append("what was given is sound, and not all was given")
        return "\n".join(lines)
    is_anybodys = verifier.exit == SOUND and not verifier.signers
    lines.append(ANYBODYS if is_anybodys else SAID[verifier.exit])
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Verify the bundle that the words of the command line name; the exit code."""
    parser = argparse.ArgumentParser(description="Verify a bundle of Moorage.")
    parser.add_argument(
        "--key", action="append", default=[], metavar="PUBLIC.pem", help="a key that may sign"
    )
    parser.add_argument("--required", type=int, metavar="N", help="how many of the keys must (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a folder, folders of media, a tar, or -")
    given = parser.parse_args(words)
    try:
        keys = {one.id: one for one in map(read_key, given.key)}
    except (OSError, ValueError) as error:
        parser.error(str(error))
    required = 1 if given.required is None else given.required
    if given.required is not None and not 1 <= required <= len(keys):
        parser.error(f"--required {required} needs as many different keys (--key), and at least one")
    is_tar = [one == "-" or not os.path.isdir(one) for one in given.paths]
    if any(is_tar) and len(given.paths) > 1:
        parser.error("a tar is given alone")
    verifier = Verifier()
    try:
        if given.paths == ["-"]:
            verify_tar(verifier, sys.stdin.buffer)
        elif is_tar[0]:
            with open(given.paths[0], "rb") as opened:
                verify_tar(verifier, opened)
        else:
            verify_folders(verifier, folders(given.paths))
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; give a path that can be read", file=sys.stderr)
        return UNCHECKED
    verifier.check_signatures(list(keys.values()), required)
    print(report(verifier, as_json=given.json))
    return verifier.exit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
