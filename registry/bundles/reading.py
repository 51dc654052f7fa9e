"""The files of a bundle, read as hostile: folders of one or several media, or a tar as it comes.

Nothing but the names that a bundle has is ever opened, and no link is followed.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

from registry.bundles.errors import unsound
from registry.bundles.format import CONTENTS, HEAD, HEAD_BYTES, INDEX, LAYOUT, README, SUMS
from registry.bundles.media import FILE
from registry.bundles.signatures import SIGNATURE_BYTES, is_signature
from registry.errors import RequestInvalid
from registry.model.quoting import quoted

SMALL = (README, LAYOUT, INDEX)
_PIECE = 1 << 20
_BLOCK = 512
_PAX_BYTES = 4 << 10
_MOST_SIGNATURES = 64
_FOLDERS = ("", "blobs", "blobs/sha256", "blobs/sha512")
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")
_MEDIUM = re.compile(r"medium-[0-9]{3,4}")
_AGAIN = "copy it once more from where it was made"


@dataclass(frozen=True, slots=True)
class Opening:
    """What every bundle is judged by before anything else of it is read."""

    head: bytes
    signatures: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a bundle: its name, its size, and chunks of it, which are read before the next file."""

    name: str
    size: int
    chunks: Iterator[bytes]

    def whole(self, limit: int) -> bytes:
        """All of it. Raises BundleInvalid where that is more than it may be."""
        if self.size > limit:
            raise unsound(self.name, f"it has {self.size} bytes, and may have {limit}", _AGAIN)
        return b"".join(self.chunks)


class Files(Protocol):
    """The files of one bundle. All of it blocks, and raises BundleInvalid."""

    def opening(self) -> Opening:
        """Head and signatures; called first, and once."""
        ...

    def entries(self, is_wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """The other files, contents.jsonl before those of manifests and blobs; unwanted ones are not read."""
        ...

    def size(self, name: str) -> int | None:
        """The bytes of a file; None where it is not here, or that is not known before it comes."""
        ...

    @property
    def comes_once(self) -> bool:
        """Whether it is a stream, which tells what is in it only as it comes."""
        ...


class Folders:
    """Folders, each a medium of one bundle, or with such in it."""

    comes_once = False

    def __init__(self, paths: list[Path]) -> None:
        self.roots = [root for path in paths for root in _media_in(path)]

    def opening(self) -> Opening:
        """Head and signatures, which all media must have alike."""
        first: Opening | None = None
        for place, root in enumerate(self.roots):
            signatures: dict[str, bytes] = {}
            for name in sorted(os.listdir(root)):
                if is_signature(name):
                    signatures[name] = self._read(root, name, SIGNATURE_BYTES)
                    _require_few(signatures, name)
            here = Opening(self._read(root, HEAD, HEAD_BYTES), signatures)
            if first is None:
                first = here
            elif here.head != first.head:
                raise unsound(
                    HEAD, f"in {root.name} it is of another bundle", "give the media of one at a time"
                )
            else:
                # A signature may have been attached to one medium alone.
                for name, content in signatures.items():
                    if first.signatures.setdefault(name, content) != content:
                        raise unsound(name, f"in {root.name} it is not as before", "sign all media at once")
                    _require_few(first.signatures, name)
            self._require_known(root, self.roots[:place])
        assert first is not None
        return first

    def entries(self, is_wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """The files in the order of the format."""
        for name in chain(SMALL, [CONTENTS], self._blobs(), [SUMS]):
            found = self._find(name)
            if found is not None and is_wanted(name):
                with _opened(found[1], name) as opened:
                    yield Entry(name, found[0], _chunks(opened, name, found[0]))

    def size(self, name: str) -> int | None:
        """The bytes of a file, whichever medium it lies in."""
        found = self._find(name)
        return None if found is None else found[0]

    def _find(self, name: str) -> tuple[int, str] | None:
        """The bytes and the path of a file; asked each time, since there may be a million of them."""
        for root in self.roots:
            with suppress(FileNotFoundError):
                return os.lstat(path := f"{root}/{name}").st_size, path
        return None

    def _blobs(self) -> Iterator[str]:
        """The names of files of manifests and blobs."""
        for root in self.roots:
            for folder in _FOLDERS[2:]:
                if _is_folder(root, folder):
                    yield from (f"{folder}/{one}" for one in sorted(os.listdir(root / folder)))

    def _require_known(self, root: Path, before: Sequence[Path]) -> None:
        """Raises BundleInvalid for what no bundle has, and for what a medium `before` has already."""
        for folder in _FOLDERS:
            if folder and not _is_folder(root, folder):
                continue
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if name in _FOLDERS or name == HEAD or is_signature(name):
                        continue
                    if name not in (*SMALL, CONTENTS, SUMS) and FILE.fullmatch(name) is None:
                        raise unsound(name, "no bundle has a file of that name", "take it away")
                    if not entry.is_file(follow_symlinks=False):
                        raise unsound(
                            name, "it is no plain file", "a bundle has nothing else; copy it once more"
                        )
                    if name not in (README, SUMS) and any(os.path.lexists(one / name) for one in before):
                        raise unsound(name, "it lies in two media", "give each medium once")
        for name in (README, SUMS):
            if not (root / name).exists():
                raise unsound(name, f"it is not in {root.name}", _AGAIN)

    def _read(self, root: Path, name: str, limit: int) -> bytes:
        with _opened(root / name, name) as opened:
            content = opened.read(limit + 1)
        if len(content) > limit:
            raise unsound(name, f"it has more than {limit} bytes", "this was not written by Moorage")
        return content


class Tar:
    """A tar that is read once, from its beginning to its end."""

    comes_once = True

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self._held: tuple[str, int] | None = None

    def opening(self) -> Opening:
        """Head and signatures, which come first."""
        name, size = self._next() or ("", 0)
        if name != HEAD:
            raise unsound(HEAD, "it is not the first file of the tar", "this was not written by Moorage")
        head = self._entry(name, size).whole(HEAD_BYTES)
        self._skip(name, size)
        signatures: dict[str, bytes] = {}
        while (found := self._next()) is not None:
            name, size = found
            if not is_signature(name):
                self._held = found
                break
            if name in signatures:
                raise unsound(name, "it comes twice", "this was not written by Moorage")
            signatures[name] = self._entry(name, size).whole(SIGNATURE_BYTES)
            _require_few(signatures, name)
            self._skip(name, size)
        return Opening(head, signatures)

    def entries(self, is_wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """The other files as they come."""
        known = {*SMALL, CONTENTS, SUMS}
        seen: set[str] = set()
        while (found := self._held or self._next()) is not None:
            self._held = None
            name, size = found
            if name not in known and FILE.fullmatch(name) is None:
                raise unsound(name, "no bundle has a file of that name", "this was not written by Moorage")
            if name in seen:
                raise unsound(name, "it comes twice", "this was not written by Moorage")
            seen.add(name)
            entry = self._entry(name, size)
            if is_wanted(name):
                yield entry
            for _ in entry.chunks:
                pass
            self._skip(name, size)

    def size(self, name: str) -> int | None:
        """Not known before it comes."""
        del name
        return None

    def _entry(self, name: str, size: int) -> Entry:
        return Entry(name, size, _chunks(self._opened, name, size))

    def _skip(self, name: str, size: int) -> None:
        if _exactly(self._opened, -size % _BLOCK, name).strip(b"\0"):
            raise unsound("the tar", f"something hides behind {name}", "this was not written by Moorage")

    def _end(self) -> None:
        """Raises BundleInvalid for what comes behind the end."""
        rest = self._opened.read(_PIECE)
        if rest.strip(b"\0") or len(rest) == _PIECE:
            raise unsound("the tar", "something comes behind its end", "this was not written by Moorage")

    def _next(self) -> tuple[str, int] | None:
        """The name and size of the next file; None at the end."""
        extended: dict[str, str] = {}
        while True:
            block = _exactly(self._opened, _BLOCK, "the tar")
            if not block.strip(b"\0"):
                self._end()
                return None
            name, size, kind = _header(block)
            if kind == b"x" and not extended:
                if size > _PAX_BYTES:
                    raise unsound(
                        "the tar", "an extended header is too large", "this was not written by Moorage"
                    )
                extended = _extended(_exactly(self._opened, size, name), name)
                self._skip(name, size)
                continue
            name = extended.get("path", name)
            size = int(extended.get("size", size))
            if kind not in (b"0", b"\0"):
                raise unsound(
                    name.rstrip("/"),
                    "it is a link, a device or the like",
                    "a bundle has plain files alone; do not use it",
                )
            return name, size


@contextmanager
def opened_files(paths: list[Path]) -> Iterator[Files]:
    """The bundle in folders, or in one tar (`-` is standard input). Raises RequestInvalid, BundleInvalid."""
    if not paths:
        raise RequestInvalid("name the folders of a bundle, or its tar (- for standard input)")
    with ExitStack() as opened:
        if len(paths) == 1 and str(paths[0]) == "-":
            yield Tar(sys.stdin.buffer)
            return
        try:
            are_folders = all(path.is_dir() for path in paths)
        except (OSError, ValueError) as error:
            raise RequestInvalid(f"the path of a bundle cannot be read: {error}") from None
        if are_folders:
            yield Folders(paths)
            return
        if len(paths) > 1:
            raise RequestInvalid("name the folders of one bundle, or one tar")
        try:
            yield Tar(opened.enter_context(paths[0].open("rb")))
        except OSError as error:
            raise RequestInvalid(f"{paths[0]} cannot be read: {error.strerror}") from None


def _media_in(path: Path) -> list[Path]:
    """The folders at a path that are each one medium. Raises BundleInvalid."""
    if (path / HEAD).exists() or (path / HEAD).is_symlink():
        return [path]
    named = (one for one in path.glob("medium-*") if _MEDIUM.fullmatch(one.name) is not None)
    found = sorted(one for one in named if (one / HEAD).is_file() and not one.is_symlink())
    if not found:
        raise unsound(HEAD, f"it is not in {path}", "name the folder that has it")
    return found


def _require_few(signatures: Sized, name: str) -> None:
    if len(signatures) > _MOST_SIGNATURES:
        raise unsound(name, f"there are more than {_MOST_SIGNATURES} signatures", "take away what is none")


def _is_folder(root: Path, name: str) -> bool:
    """Whether a folder of a bundle is there. Raises BundleInvalid for what is in its place."""
    try:
        found = (root / name).lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise unsound(name, "it is no folder", "a bundle has no links; copy it once more")
    return True


@contextmanager
def _opened(path: str | Path, name: str) -> Iterator[IO[bytes]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise unsound(name, "it is not there", _AGAIN) from None
    except OSError as error:
        raise unsound(name, f"it cannot be read: {error.strerror}", _AGAIN) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise unsound(name, "it is no plain file", "a bundle has nothing else; copy it once more")
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        yield opened


def _chunks(opened: IO[bytes], name: str, size: int) -> Iterator[bytes]:
    left = size
    while left:
        try:
            chunk = opened.read(min(_PIECE, left))
        except OSError as error:
            raise unsound(name, f"it cannot be read: {error.strerror}", _AGAIN) from None
        if not chunk:
            raise unsound(name, f"it ends {left} bytes too early", _AGAIN)
        left -= len(chunk)
        yield chunk


def _exactly(opened: IO[bytes], size: int, name: str) -> bytes:
    return b"".join(_chunks(opened, name, size))


def _header(block: bytes) -> tuple[str, int, bytes]:
    if block[257:262] != b"ustar":
        if block.startswith(_COMPRESSED):
            raise unsound("the tar", "it is compressed, as no bundle is", "unpack it, and look at what it is")
        raise unsound("the tar", "it is none", "name the folder of a bundle, or its tar")
    told = block[148:156].strip(b" \0")
    counted = sum(block[:148]) + sum(block[156:]) + 8 * 32
    try:
        prefix, name = (_text(block[start:end]) for start, end in ((345, 500), (0, 100)))
        name = f"{prefix}/{name}" if prefix else name
        digits = block[124:136].strip(b" \0")
        if (
            not digits.isdigit()
        ):  # `int` takes signs, and what has a size below nothing would be read for ever
            raise ValueError(digits)
        size = int(digits, 8)
        sum_told = int(told, 8)
    except (ValueError, UnicodeDecodeError):
        raise unsound("the tar", "a header in it is nonsense", _AGAIN) from None
    if sum_told != counted:
        raise unsound("the tar", f"the header of {quoted(name)} is damaged", _AGAIN)
    return name, size, block[156:157]


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii")


def _extended(content: bytes, name: str) -> dict[str, str]:
    """The records of an extended header of which a bundle has use (POSIX: pax)."""
    found: dict[str, str] = {}
    while content:
        length, _, _ = content.partition(b" ")
        try:
            record, content = content[: int(length)], content[int(length) :]
            key, _, value = record[len(length) + 1 :].decode("ascii").rstrip("\n").partition("=")
            if int(length) <= len(length) + 1 or (key == "size" and not value.isdigit()):
                raise ValueError
        except ValueError:
            raise unsound(name, "its extended header is nonsense", _AGAIN) from None
        if key in ("path", "size"):
            found[key] = value
    return found
