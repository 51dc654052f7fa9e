"""Lists of what runs somewhere: images that neither retention nor the eviction from mirrors must touch."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import DigestInvalid, NameInvalid, TagInvalid, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.model.units import format_duration
from registry.upkeep.settings import InUseList

_LIMIT = 64 << 20  # bytes of a list
_AHEAD_SECONDS = 300
_HOST = re.compile(r"localhost|.*[.:].*")


@dataclass(slots=True)
class InUse:
    """What runs: digests, wherever they lie, and tags; each with the file that says so."""

    digests: dict[Digest, str] = field(default_factory=dict)
    tags: dict[RepositoryName, dict[Tag, str]] = field(default_factory=dict)

    def add(self, line: str, file: str) -> None:
        """Note an image as clusters name it: with a host or without, by digest, by tag or by both.

        Raises Unsupported for what is no such name.
        """
        # Kubernetes says `docker-pullable://` before what its containers run.
        line = line.rpartition("://")[2]
        path, at, digest = line.partition("@")
        try:
            if at or line.startswith(("sha256:", "sha512:")):
                self.digests[Digest.parse(digest if at else line)] = file
                return
            host, slash, rest = path.partition("/")
            has_host = bool(slash) and _HOST.fullmatch(host) is not None
            self._add_tag(rest if has_host else path, file)
            if has_host and ":" not in host:
                # `my.org/app` may be a repository, too; a host in capitals is none.
                with suppress(NameInvalid):
                    self._add_tag(path, file)
        except (DigestInvalid, NameInvalid, TagInvalid) as error:
            raise Unsupported(f"{file}: {quoted(line)} is no image: {error.message}") from None

    def _add_tag(self, path: str, file: str) -> None:
        name, _, tag = path.partition(":")
        self.tags.setdefault(RepositoryName(name), {})[Tag(tag or "latest")] = file


def read_in_use(lists: Iterable[InUseList]) -> InUse:
    """Read all lists, each an image a line or one array of JSON.

    Raises Unsupported for a list that is missing, too old, or cannot be read: then nothing may be removed.
    """
    found = InUse()
    for one in lists:
        file = str(one.file)
        lines = _lines(one)
        if not lines:
            raise Unsupported(f"{file}, which lists what is in use, is empty; if nothing runs, leave it out")
        for line in lines:
            found.add(line, file)
    return found


def _lines(one: InUseList) -> list[str]:
    path: Path = one.file
    try:
        with path.open("rb") as opened:
            written = os.fstat(opened.fileno()).st_mtime
            content = opened.read(_LIMIT + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise Unsupported(f"{path}, which lists what is in use, cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unsupported(f"{path}, which lists what is in use, cannot be read: it is no text") from None
    if len(content) > _LIMIT:
        raise Unsupported(f"{path}, which lists what is in use, has more than {_LIMIT >> 20} MiB")
    age = time.time() - written
    if age < -_AHEAD_SECONDS:
        raise Unsupported(
            f"{path}, which lists what is in use, was written in the future, so how old it is is not known"
        )
    if age > one.max_age.total_seconds():
        allowed = format_duration(one.max_age.total_seconds())
        raise Unsupported(
            f"{path}, which lists what is in use, was written {format_duration(round(age))} ago, and may be"
            f" at most {allowed} old; see why it is not renewed, or raise its max_age"
        )
    if not text.lstrip().startswith("["):
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    try:
        names = json.loads(text)
        if not all(isinstance(name, str) for name in names):
            raise ValueError("it is to hold texts alone")
    except ValueError as error:
        raise Unsupported(f"{path}, which lists what is in use, cannot be read: {error}") from None
    return list(names)
