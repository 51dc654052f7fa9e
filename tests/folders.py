"""What lies in a folder that somebody else is writing to: a name that was seen may be gone a moment later."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Some file systems take their time for each file that goes, and none for the next one meanwhile.
_AT_ONCE = 8


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


def remove_tree(root: Path) -> None:
    """Remove a folder in which there may be very much; links go, and not what they lead to."""
    level = [root]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while 0 < len(level) < 8 * _AT_ONCE:
            level = [one for folder in level for one in folder.iterdir() if _is_folder(one)]
        list(pool.map(shutil.rmtree, level))
    shutil.rmtree(root)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
