"""Secrets that a file of their own holds: `password_file` beside every `password`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from registry.config.tree import Leaf
from registry.settings import Location, Problem, Source


def read_secret_files(
    data: dict[str, object], secrets: Iterable[Leaf], source: Callable[[Location], Source]
) -> list[Problem]:
    """Put the secret in the place of its file's name, everywhere in `data`; what went wrong."""
    problems = []
    for leaf in secrets:
        section = _section(data, leaf)
        file_key = leaf.file_path[-1]
        if section is None or (name := section.pop(file_key, None)) is None:
            continue
        path, where = ".".join(leaf.file_path), source(leaf.file_path)
        if section.get(leaf.path[-1]) is not None:
            problems.append(Problem(path, f"{leaf.name} is set too; keep one of the two", where, str(name)))
            continue
        try:
            with open(str(name), encoding="utf-8") as file:
                # Editors and `echo` end a file with a newline that is no part of the secret.
                section[leaf.path[-1]] = file.read().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problems.append(Problem(path, f"the file cannot be read: {reason}", where, str(name)))
    return problems


def _section(data: dict[str, object], leaf: Leaf) -> dict[str, object] | None:
    section: object = data
    for step in leaf.path[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else None
