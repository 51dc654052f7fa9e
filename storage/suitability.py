"""What a file system must be able to do to keep a store, found out by trying."""

from __future__ import annotations

import os
from contextlib import suppress
from uuid import uuid4

from storage.files import Files
from storage.findings import UnsuitableStore
from storage.keys import TEMPORARY_PREFIX


def make_root(root: str, files: Files) -> None:
    """Make the directory `root` if it is missing, and its name durable."""
    if root == "/":
        raise UnsuitableStore("the store needs a directory of its own, but was given /")
    missing = []
    path = root
    while not _exists(files, path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        with suppress(FileExistsError):
            files.make_directory(directory)
        with suppress(PermissionError):  # a parent that others own, and let us pass through only
            files.sync_directory(os.path.dirname(directory))
    if _is_empty(files, root):
        # Another process may have made it a moment ago, and not have come to its name.
        path = root
        while path != "/":
            path = os.path.dirname(path)
            with suppress(OSError):
                files.sync_directory(path)


def try_out(root: str, files: Files, *, allow_case_folding: bool) -> None:
    """Raise UnsuitableStore unless files below `root` can be linked, synced by directory and told by case.

    Raises OSError when nothing can be written at all.
    """
    name = f"{root}/{TEMPORARY_PREFIX}probe-{uuid4()}"
    link = f"{name}-link"
    files.close(files.create(name))
    try:
        try:
            files.link(name, link)
            linked = files.status(link).st_ino == files.status(name).st_ino
        except OSError as error:
            raise UnsuitableStore(
                f"the file system of {root} has no hard links ({error.strerror}), without which two writers"
                " cannot be told apart; keep the store on a local or NFS file system that has them"
            ) from error
        if not linked:
            raise UnsuitableStore(f"the file system of {root} copies a file where a hard link was asked for")
        try:
            files.sync_directory(root)
        except OSError as error:
            raise UnsuitableStore(
                f"the file system of {root} cannot sync a directory ({error.strerror}), so that a power cut"
                " would take what has been acknowledged; keep the store on one that can"
            ) from error
        if not allow_case_folding and _exists(files, f"{root}/{os.path.basename(name).upper()}"):
            raise UnsuitableStore(
                f"the file system of {root} takes upper and lower case for the same, but keys that differ"
                " in case are different objects; keep the store on one that does not"
            )
    finally:
        for path in (link, name):
            if _exists(files, path):
                files.unlink(path)


def _is_empty(files: Files, directory: str) -> bool:
    with files.scan(directory) as entries:
        return next(entries, None) is None


def _exists(files: Files, path: str) -> bool:
    try:
        files.status(path)
    except FileNotFoundError:
        return False
    return True
