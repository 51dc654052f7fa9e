"""Where the servers keep their storage: in memory, where syncing costs nothing, on a disk, in a bucket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
LASTING = Path("/var/tmp")
PLACES = ("memory", "disk", "bucket")
IN_MEMORY, IN_A_BUCKET = "tmpfs", "a bucket"


class NoPlace(Exception):
    """This machine has no such place, or too little room in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory to work in, and the kind of file system that it lies on."""

    folder: Path
    kind: str


def place(name: str, wanted_bytes: int) -> Place:
    """The place of that name in `PLACES`; raises `NoPlace`."""
    if name == "bucket":
        # Its files lie in memory, so that the store costs as little as it can.
        return replace(place("memory", wanted_bytes), kind=IN_A_BUCKET)
    in_memory = name == "memory"
    found: Mapping[Path, str] = {
        folder: file_system(folder)
        for folder in ((SHARED_MEMORY,) if in_memory else (Path(tempfile.gettempdir()), LASTING))
        if folder.is_dir() and os.access(folder, os.W_OK)
    }
    for folder, kind in found.items():
        if (kind == IN_MEMORY) == in_memory and shutil.disk_usage(folder).free >= wanted_bytes:
            return Place(folder, kind)
    looked = ", ".join(f"{folder} ({kind})" for folder, kind in found.items()) or "nowhere"
    raise NoPlace(f"{name}: {wanted_bytes >> 20} MiB are needed; looked in {looked}")


def file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    within = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(within, key=lambda mount: len(mount[1]))[2]
