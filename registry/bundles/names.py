"""What repositories of a bundle are called here: prefixes that stand for others, and where images may go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.bundles.errors import BundleRefused
from registry.errors import InputInvalid, NameInvalid
from registry.model.names import RepositoryName
from registry.model.patterns import RepositoryPattern
from registry.model.staged import is_staged

_TOLD = 10


class Names:
    """The mappings of one import, such as `hub/=mirror/hub/`; of several that fit the longest counts."""

    def __init__(self, mappings: Iterable[str], allowed: Sequence[RepositoryPattern]) -> None:
        self.mappings = tuple(mappings)
        pairs = [one.split("=", 1) for one in self.mappings]
        if any(len(pair) != 2 or any(part and not part.endswith("/") for part in pair) for pair in pairs):
            raise InputInvalid(
                "--map: a mapping is two prefixes, empty or with a / at their end, such as hub/=mirror/hub/"
            )
        self._pairs = sorted(((old, new) for old, new in pairs), key=lambda pair: -len(pair[0]))
        self._allowed = allowed

    def here(self, name: str) -> str:
        """What a repository of the bundle is called here."""
        for old, new in self._pairs:
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    def there(self, name: str) -> str | None:
        """What a repository of this registry is called in the bundle; None where it is none of that."""
        for old, new in self._pairs:
            if name.startswith(new) and self.here(there := old + name[len(new) :]) == name:
                return there
        return name if self.here(name) == name else None

    def may_have(self, name: str) -> bool:
        """Whether images of bundles may go to a repository of this registry."""
        return not is_staged(name) and any(one.matches(name) for one in self._allowed)

    def all(self, names: Iterable[str]) -> dict[str, RepositoryName]:
        """What they are all called here. Raises BundleRefused for names that may not be."""
        found: dict[str, RepositoryName] = {}
        wrong: list[str] = []
        for name in sorted(names):
            here = self.here(name)
            try:
                found[name] = RepositoryName(here)
            except NameInvalid as error:
                wrong.append(f"{here} ({error.message})")
                continue
            if not self.may_have(here):
                wrong.append(here)
        if len(set(found.values())) < len(found):
            raise BundleRefused(
                "two repositories of the bundle would have the same name here; mend the mapping"
            )
        if wrong:
            more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
            raise BundleRefused(
                f"the bundle has images for {', '.join(wrong[:_TOLD])}{more}, where none may go"
                " (bundles.import.repositories); map them elsewhere (--map), or allow it",
                detail={"repositories": wrong[:_TOLD]},
            )
        return found
