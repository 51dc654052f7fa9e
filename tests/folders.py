"""What lies in a folder that somebody else is writing to: a name that was seen may be gone a moment later."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def files_below(root: Path) -> Iterator[Path]:
    """The files at any depth; what vanishes while they are listed is passed over."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in names)


def unfinished(root: Path) -> list[Path]:
    """The files that the local driver has begun to write and not yet given their names."""
    return [path for path in files_below(root) if path.name.startswith(".tmp-")]


def files_with(part: bytes, *roots: Path) -> list[Path]:
    """The files in whose bytes a part is; all are looked at again if one vanishes: it may have a new name."""
    while True:
        try:
            return [path for root in roots for path in files_below(root) if part in path.read_bytes()]
        except FileNotFoundError:
            continue


def make_older(root: Path, seconds: float) -> None:
    """Let all files have been written so much earlier."""
    for path in files_below(root):
        with contextlib.suppress(FileNotFoundError):
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))
