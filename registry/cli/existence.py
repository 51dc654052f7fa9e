"""Whether there is a store at all: only `serve` begins one, so a mistyped directory is no empty registry."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from registry.store import layout

_TREES = (layout.DISTRIBUTION, layout.OURS.partition("/")[0])
_LOOKED_AT = 1000  # entries of a directory that may have been meant to be one of these


class NoStore(Exception):
    """The directory holds no store; the text says where there might be one."""


def require_store(root: str | os.PathLike[str]) -> None:
    """Refuse to work where nothing is; creates nothing. Raises NoStore."""
    place = Path(os.path.abspath(root))
    if _is_store(place):
        return
    near = _near(place)
    advice = (
        f"did you mean --root {near}?"
        if near is not None
        else "name its directory (--root DIR, or --config FILE); `moorage serve` begins a new one"
    )
    raise NoStore(f"there is no store in {place}; {advice}")


def require_directory(root: str | os.PathLike[str]) -> None:
    """Refuse to make a directory where only one that is there was meant. Raises NoStore."""
    if not Path(root).is_dir():
        raise NoStore(f"there is no directory {os.path.abspath(root)}")


def _is_store(place: Path) -> bool:
    return any((place / tree).is_dir() for tree in _TREES)


def _near(place: Path) -> Path | None:
    """The store in which the place lies, or the only one directly below it."""
    for above in place.parents:
        if _is_store(above):
            return above
    try:
        with os.scandir(place) as entries:
            below = [Path(entry) for entry in islice(entries, _LOOKED_AT) if _is_store(Path(entry))]
    except OSError:
        return None
    return below[0] if len(below) == 1 else None
