"""People in an htpasswd file, as `htpasswd -B` writes it: a name, a colon and a bcrypt hash on each line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from registry.access.passwords import Passwords
from registry.access.people import Person, folded, is_name
from registry.access.principals import Principal
from registry.access.watched import Unusable, Watched, contents
from registry.model.quoting import quoted
from registry.settings import Problem, Source

MAXIMUM_BYTES = 1 << 20
MOST_NAMES = 10_000
# A work factor more, and one login would keep a processor busy for seconds.
_MOST_COST = 14
_TOLD = 20

_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_OTHER_HASHES = re.compile(r"\$(?:apr1|1|5|6|y|argon2\w*)\$.*|\{SHA\}.*|[./A-Za-z0-9]{13}")


class HtpasswdError(Unusable):
    """The htpasswd file cannot be used; `problems` has what is wrong with it, by line, without its hashes."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("the htpasswd file", problems)


@dataclass(frozen=True, slots=True)
class _Line:
    """Somebody's name and the hash of their password, as the file has them, and the hash's work factor."""

    name: str
    hashed: str
    cost: int


class _Lines(Mapping[str, _Line]):
    """The lines of a file by name, spelled as it does, or otherwise where it does not have that name."""

    def __init__(self, lines: dict[str, _Line]) -> None:
        self._lines = lines
        # Of several spellings the first is meant.
        self._folded = {folded(name): line for name, line in reversed(lines.items())}

    def __getitem__(self, name: str) -> _Line:
        return self._lines.get(name) or self._folded[folded(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


class Htpasswd:
    """The people whom a file names, as it names them now.

    Raises HtpasswdError for a file that is no good from the beginning.
    """

    def __init__(self, path: Path, passwords: Passwords) -> None:
        self._passwords = passwords
        self._file: Watched[Mapping[str, _Line]] = Watched(path, _read, "htpasswd file")

    def look(self) -> None:
        """Take up the file if it has changed and is good; blocks while it is read."""
        self._file.look()

    async def find(self, name: str) -> Person | None:
        """Whom the file calls so; None when nobody."""
        line = self._file.value.get(name)
        return None if line is None else _person(line)

    async def verify(self, name: str, password: str) -> Person | None:
        """The person, if the password is theirs.

        It is cut after 72 bytes, as Apache does when the hash is made. Raises Unavailable when too many are
        being checked.
        """
        lines = self._file.value
        line = lines.get(name)
        hardest = max((one.cost for one in lines.values()), default=None)
        if hardest is None:
            await self._passwords.matches(password, None, cut=True)
            return None
        hashed, cost = (_nobodys(hardest), hardest) if line is None else (line.hashed, line.cost)
        same = await self._passwords.matches(password, hashed, cut=True)
        # Each work factor is twice the one before: together it takes as long as the hardest, whoever it is.
        for more in range(cost, hardest):
            await self._passwords.matches(password, _nobodys(more), cut=True)
        return _person(line) if same and line is not None else None


def read_htpasswd(path: Path) -> int:
    """How many people the file names. Raises HtpasswdError."""
    return len(_read(path))


def _person(line: _Line) -> Person:
    stamp = hashlib.sha256(line.hashed.encode()).hexdigest()[:32]
    return Person(Principal(f"htpasswd:{line.name}"), stamp)


def _nobodys(cost: int) -> str:
    """A hash of that work factor which no password has."""
    return bcrypt.gensalt(cost).decode() + "." * 31


def _read(path: Path) -> Mapping[str, _Line]:
    file = str(path)
    lines: dict[str, _Line] = {}
    placed: dict[str, int] = {}
    problems: list[Problem] = []
    whole = _text(path)
    if not whole.strip():
        # Whoever writes a file in its place empties it first.
        message = "the file is empty; a comment (#) says that nobody is meant"
        raise HtpasswdError([Problem("", message, Source.file(file))])
    for number, text in enumerate(whole.split("\n"), 1):
        text = text.removesuffix("\r")
        if not text.strip() or text.startswith("#"):
            continue
        name, colon, hashed = text.partition(":")
        problem = "" if colon else "there is no colon; a line is NAME:HASH, as `htpasswd -B` writes it"
        problem = problem or _problem(name, hashed)
        if not problem and name in placed:
            problem = f"{quoted(name)} is named on line {placed[name]} already"
        if problem:
            problems.append(Problem("", problem, Source.file(file, number)))
            continue
        placed[name] = number
        lines[name] = _Line(name, hashed, int(hashed[4:6]))
    if len(lines) > MOST_NAMES:
        message = f"the file names {len(lines)} people, and at most {MOST_NAMES} are taken"
        problems.append(Problem("", message, Source.file(file)))
    if len(problems) > _TOLD:
        more = f"and {len(problems) - _TOLD} lines more are no good"
        problems = [*problems[:_TOLD], Problem("", more, problems[_TOLD].source)]
    if problems:
        raise HtpasswdError(problems)
    return _Lines(lines)


def _text(path: Path) -> str:
    source = Source.file(str(path))
    try:
        data = contents(path, MAXIMUM_BYTES)
    except OSError as error:
        raise HtpasswdError([Problem("", f"the file cannot be read: {error.strerror}", source)]) from error
    if len(data) > MAXIMUM_BYTES:
        message = f"the file is larger than {MAXIMUM_BYTES >> 20} MiB"
        raise HtpasswdError([Problem("", message, source)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # `from None`, since the error holds the whole file.
        problem = Problem("", "the file is not UTF-8", Source.file(str(path), line))
        raise HtpasswdError([problem]) from None


def _problem(name: str, hashed: str) -> str:
    """What is wrong with a line, in words that tell nothing of the hash, nor of what may be one."""
    if not is_name(name):
        return "the name is empty, too long, or has blanks around it or characters that cannot be seen"
    found = _HASH.fullmatch(hashed)
    if found is None:
        if _OTHER_HASHES.fullmatch(hashed):
            return "the hash is not bcrypt's; make a new one with `htpasswd -B`"
        return "what follows the colon is no whole bcrypt hash; make a new one with `htpasswd -B`"
    if not 4 <= int(found[1]) <= _MOST_COST:
        return f"the work factor of the hash is {int(found[1])}; 4 to {_MOST_COST} are taken (`htpasswd -C`)"
    return ""
