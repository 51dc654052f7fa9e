"""Keeps a directory of files within a number of bytes: what was read longest ago goes first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

# What is being written, and the driver's own notes.
_UNFINISHED = ".tmp-"


def evict(root: str, budget_bytes: int) -> int:
    """Remove files below `root` until what stays has at most `budget_bytes`; how many bytes there are then.

    Works on any state of the directory, also while others write to it or do the same. Files that are open
    can still be read.
    """
    found = sorted(_files(root))
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= budget_bytes:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        _prune(root, os.path.dirname(path))
        total -= size
    return total


def _prune(root: str, directory: str) -> None:
    """Remove directories that are empty now: one for each object that ever was here would fill the disk."""
    with suppress(OSError):  # it has others in it, or has gone
        while len(directory) > len(root):
            os.rmdir(directory)
            directory = os.path.dirname(directory)


def _files(root: str) -> Iterator[tuple[float, int, str]]:
    """When each was read last, its size in bytes, and its path."""
    pending = [root]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif not entry.name.startswith(_UNFINISHED):
                        status = entry.stat(follow_symlinks=False)
                        yield status.st_atime, status.st_size, entry.path
