"""SHA256SUMS, which a medium has of its files: for `sha256sum -c`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from operator import itemgetter

from registry.bundles.contents import Content, Key
from registry.bundles.format import HEAD
from registry.bundles.media import files_of
from registry.bundles.statement import Statement

_APART = ("blobs/", f"{HEAD}.")  # those of signatures may come later


def is_named_by_its_sum(name: str) -> bool:
    """Whether it is the whole of what has a sha256 digest, which was seen to be right."""
    return name.startswith("blobs/sha256/") and "." not in name


def sum_lines(known: Mapping[str, str], statement: Statement, medium: int) -> Iterator[bytes]:
    """The lines of SHA256SUMS by name; `known` has the sums that are no names."""

    def named() -> Iterator[tuple[str, str]]:
        longer = []
        for key, content in merge(
            ((key, statement.manifests[key]) for key in sorted(statement.manifests)),
            statement.blobs.items(),
            key=itemgetter(0),
        ):
            if len(key) == 32:
                yield from told(key, content)
            elif content.carried:
                longer.append((key, content))
        for key, content in longer:
            yield from told(key, content)

    def told(key: Key, content: Content) -> Iterator[tuple[str, str]]:
        names = sorted(file.name for file in files_of(key, content) if file.medium == medium)
        return ((name, known.get(name) or key.hex()) for name in names)

    others = sorted((name, sha256) for name, sha256 in known.items() if not name.startswith(_APART))
    return (f"{sha256}  {name}\n".encode() for name, sha256 in merge(others, named()))
