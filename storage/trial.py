"""What can be found out about a file system without cutting its power."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from storage.files import Files

_SYNCS = 20
_RENAMES = 500
_BYTES = 4096
_MOUNTS = "/proc/self/mountinfo"
# In memory; and what an option says that lets the kernel or the disk put off what was to be durable.
_VOLATILE = frozenset({"tmpfs", "ramfs"})
_RISKY_OPTIONS = frozenset({"nobarrier", "barrier=0", "sync=disabled", "async=unsafe", "nointegrity"})


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found: the file system (None: not known), the time that a sync took, and what is wrong."""

    file_system: str | None
    sync_seconds: float
    wrong: list[str]


def try_out_durability(directory: Path, files: Files) -> Trial:
    """Try the file system of an empty directory. Raises OSError where a sync is refused."""
    file_system, options = mounted(directory)
    wrong = []
    if file_system in _VOLATILE:
        wrong.append(f"{file_system} lies in memory: a power cut takes everything")
    wrong += [
        f"mounted with {option}: a power cut may take what was synced"
        for option in sorted(_RISKY_OPTIONS & options)
    ]
    taken = sorted(_sync_seconds(directory, files) for _ in range(_SYNCS))
    if torn := _torn_by_renames(directory, files):
        wrong.append(f"of {_RENAMES} renames over a file, {torn} let a reader see it missing or torn")
    return Trial(file_system, taken[_SYNCS // 2], wrong)


def mounted(directory: Path) -> tuple[str | None, frozenset[str]]:
    """The kind of the file system in which a directory lies, and the options that it was mounted with."""
    try:
        lines = Path(_MOUNTS).read_text().splitlines()
    except OSError:
        return None, frozenset()
    place = f"{os.path.realpath(directory)}/"
    best: tuple[int, str | None, frozenset[str]] = (-1, None, frozenset())
    for line in lines:
        # Optional fields end with a dash (Linux: proc_pid_mountinfo).
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape").rstrip("/") + "/"
        kind, _, of_system = after.split(" ", 2)
        # Of several at one place the last lies on top.
        if place.startswith(point) and len(point) >= best[0]:
            options = frozenset(f"{before.split(' ')[5]},{of_system}".split(","))
            best = (len(point), kind, options)
    return best[1], best[2]


def _sync_seconds(directory: Path, files: Files) -> float:
    """The time for a new file to become durable, name and all."""
    path = str(directory / "synced")
    descriptor = files.create(path)
    try:
        files.write(descriptor, [b"x" * _BYTES])
        began = time.perf_counter()
        files.sync(descriptor)
        files.sync_directory(str(directory))
        return time.perf_counter() - began
    finally:
        files.close(descriptor)
        files.unlink(path)


def _torn_by_renames(directory: Path, files: Files) -> int:
    """How often somebody who reads a file all the time does not find it whole while others replace it."""
    path, new = str(directory / "renamed"), str(directory / "new")
    torn = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal torn
        while not ended.is_set():
            try:
                found = Path(path).read_bytes()
            except FileNotFoundError:
                found = b""
            torn += len(found) != _BYTES or found.strip(found[:1]) != b""

    _make(files, path, b"0")
    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(_RENAMES):
            _make(files, new, b"%d" % (number % 10))
            files.rename(new, path)
    finally:
        ended.set()
        reader.join()
    return torn


def _make(files: Files, path: str, letter: bytes) -> None:
    descriptor = files.create(path)
    try:
        files.write(descriptor, [letter * _BYTES])
    finally:
        files.close(descriptor)
