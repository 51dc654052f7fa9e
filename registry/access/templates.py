"""Patterns of rules that depend on who asks: `users/{user}/**`, `{claims.namespace}/*`, `refs/heads/*`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from registry.access.principals import Principal
from registry.errors import NameInvalid
from registry.model.names import RepositoryName
from registry.model.patterns import RepositoryPattern
from registry.model.quoting import quoted

_PLACEHOLDER = re.compile(r"\{(user|claims\.[A-Za-z0-9_.-]{1,64})\}")
_STAND_IN = "placeholder"


@dataclass(frozen=True, slots=True)
class RepositoryTemplate:
    """A repository pattern in which `{user}` and `{claims.NAME}` are whole segments.

    Each stands for one segment as it is written: a value that holds a `/`, a `*` or anything else that no
    segment of a name may have matches nothing, and so does `{user}` for a workload. Raises ValueError.
    """

    text: str
    _fixed: RepositoryPattern | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        segments = self.text.split("/")
        placed = [_PLACEHOLDER.fullmatch(segment) is not None for segment in segments]
        plain = "/".join(
            _STAND_IN if is_placed else segment for is_placed, segment in zip(placed, segments, strict=True)
        )
        if "{" in plain or "}" in plain:
            raise ValueError(
                f"in the pattern {quoted(self.text)} a placeholder must be a whole segment: {{user}} or"
                " {claims.NAME}"
            )
        pattern = RepositoryPattern(plain)
        object.__setattr__(self, "_fixed", None if any(placed) else pattern)

    def __str__(self) -> str:
        return self.text

    @property
    def claims(self) -> frozenset[str]:
        """The claims that it asks for."""
        return frozenset(
            name.removeprefix("claims.") for name in _PLACEHOLDER.findall(self.text) if name != "user"
        )

    @property
    def is_everything(self) -> bool:
        """Whether it covers every repository."""
        return self.text == "**"

    def matches(self, principal: Principal, repository: RepositoryName) -> bool:
        """Whether the pattern, filled in for who asks, covers the repository."""
        if self._fixed is not None:
            return self._fixed.matches(repository)
        filled = []
        for segment in self.text.split("/"):
            found = _PLACEHOLDER.fullmatch(segment)
            if found is None:
                filled.append(segment)
                continue
            value = _value(principal, found[1])
            if value is None:
                return False
            filled.append(value)
        return RepositoryPattern("/".join(filled)).matches(repository)


def _value(principal: Principal, name: str) -> str | None:
    if name == "user":
        # What a workload is called is up to whoever names it at its issuer: it must not be one of our people.
        value = None if principal.source == "issuer" else principal.name
    else:
        value = principal.claim(name.removeprefix("claims."))
    if not value or "/" in value:
        return None
    try:
        return RepositoryName(value)
    except NameInvalid:
        return None


@dataclass(frozen=True, slots=True)
class ClaimPattern:
    """What a claim must be: a text in which `*` is any run of characters without `/`, `**` any at all.

    Raises ValueError.
    """

    text: str
    _parts: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.text or self.text.strip("*") == "":
            raise ValueError("must name a value; a pattern of stars alone is no condition")
        if self.text.count("*") > 8:
            raise ValueError("has too many stars; at most 8")
        parts = tuple(part for part in re.split(r"(\*\*|\*)", self.text) if part)
        object.__setattr__(self, "_parts", parts)

    def __str__(self) -> str:
        return self.text

    def matches(self, value: str) -> bool:
        """Whether the value is so."""
        if len(value) > 1024:
            return False
        # Where in the value each part may end: no value, which others choose, takes longer than another.
        ends = {0}
        for part in self._parts:
            ends = set(_ends(part, value, ends))
        return len(value) in ends


def _ends(part: str, value: str, starts: set[int]) -> Iterator[int]:
    """Where a part may end that begins at one of the starts."""
    if part not in ("*", "**"):
        yield from (start + len(part) for start in starts if value.startswith(part, start))
        return
    within = False
    for at in range(len(value) + 1):
        within = at in starts or (within and (part == "**" or value[at - 1] != "/"))
        if within:
            yield at
