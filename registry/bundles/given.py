"""Files that people give to commands, and are given by them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from registry.errors import RequestInvalid
from registry.model.units import format_size

LIMIT = 1 << 30  # bytes
_LINK = "it is a link to another file"


def lines_of_file(file: Path) -> list[str]:
    """The lines of a text file (`-` is standard input) without comments and empty ones."""
    content = read_file(Path("/dev/stdin") if str(file) == "-" else file, LIMIT)
    lines = (line.partition("#")[0].strip() for line in content.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line]


def read_file(file: Path, limit: int) -> bytes:
    """What is in a file of somebody's. Raises RequestInvalid."""
    try:
        with file.open("rb") as opened:
            content = opened.read(limit + 1)
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise RequestInvalid(f"{file} is larger than {format_size(limit)}")
    return content


def write_file(file: Path, text: str) -> None:
    """Put a text into a file of somebody's. Raises RequestInvalid."""
    if _leads_elsewhere(file):
        raise RequestInvalid(f"{file} cannot be written: {_LINK}")
    try:
        # A note may be of bytes that are no text.
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be written: {error.strerror}") from None


def put_anew(file: Path, content: bytes) -> None:
    """Put a file in its place whole, whatever lies there; no link is followed. It blocks. Raises OSError."""
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as opened:
            opened.write(content)
        partial.replace(file)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def _leads_elsewhere(file: Path) -> bool:
    """Whether a link, which may have come on a disk, has another file written; not so /dev/stdout."""
    return file.is_symlink() and not file.is_relative_to("/dev") and (file.is_file() or not file.exists())


def require_writable(*files: Path | None) -> None:
    """Raises RequestInvalid for a file that could not be written when all else is done."""
    for file in filter(None, files):
        if file.is_dir():
            problem = "it is a directory"
        elif not file.parent.is_dir():
            problem = f"there is no directory {file.parent}"
        elif _leads_elsewhere(file):
            problem = _LINK
        elif not os.access(file if file.exists() else file.parent, os.W_OK):
            problem = "who runs this may not"
        else:
            continue
        raise RequestInvalid(f"{file} cannot be written: {problem}; nothing was done")
