"""What of content lies in the trash and in quarantine: who took it, why, and whether it comes back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.removal.mark import Step, handfuls, handfuls_of
from registry.removal.runs import Runs
from registry.removal.trash import BY_USER
from registry.store import layout, parsing
from registry.store.store import Store
from storage.errors import NotFound

_READ_AT_ONCE = 1024  # names of a listing


@dataclass(frozen=True, slots=True)
class InTrash:
    """A copy in the trash, by what removal, of when, by whom, and why, where a policy says so.

    `kind` is `data`, which belongs to the store as a whole, or what a `repository` had by it: a `blob` or a
    `manifest`.
    """

    run: str
    at: str
    by: str
    repository: str | None = None
    kind: str = "data"
    why: str = ""

    def told(self) -> str:
        """One line."""
        of = self.kind if self.repository is None else f"{self.kind} of {self.repository}"
        return f"{of} in the trash since {self.at}, by {self.by}: {self.run}"

    def sentence(self) -> str:
        """Why the repository does not have it any more, and how it comes back."""
        by = f" by {self.by}" if self.by else ""
        at = f" at {self.at}" if self.at else ""
        if self.run.startswith(BY_USER):
            given = "pushed" if self.kind == "manifest" else "uploaded"
            return (
                f"deleted{by}{at} from {self.repository} (run {self.run}); stays deleted until {given} or"
                f" restored (`moorage trash restore {self.run}`)"
            )
        why = f", {self.why}," if self.why else ""
        return (
            f"taken{by}{why}{at} from {self.repository} (run {self.run}); it comes back from the trash when"
            " something there needs it"
        )


async def links_in_trash(store: Store, digest: Digest, targets: set[Digest], step: Step) -> list[InTrash]:
    """The links in the trash that were called after the digest or contain it; one listing of them all.

    What they contain goes to `targets`.
    """
    found: list[InTrash] = []
    tellers = _Tellers(store)
    async for keys in handfuls_of(store.driver.walk(layout.TRASH_LINKS), _READ_AT_ONCE):
        await step()
        links = [(key, link) for key in keys if (link := parsing.trashed_link(key)) is not None]
        # Only links that Distribution has called after another digest contain one.
        maybe = [
            (key, link)
            for key, link in links
            if link.digest == digest or (link.digest.algorithm != "sha256" and not link.is_whole)
        ]
        for some in handfuls(maybe):
            contents = await store.effects.together(content_of_link(store, key) for key, _ in some)
            for (_, link), content in zip(some, contents, strict=True):
                if digest not in (link.digest, content):
                    continue
                if content is not None and not link.is_whole:
                    targets.add(content)
                found.append(await tellers.of(link.run, link.repository, link.kind))
    return found


async def data_in_trash(store: Store, targets: Iterable[Digest]) -> list[InTrash]:
    """The copies of the bytes in the trash."""
    tellers = _Tellers(store)
    return [
        await tellers.of(run, None, "data")
        for digest in sorted(targets)
        for run in await store.driver.children(layout.trash_data(digest))
    ]


async def in_quarantine(store: Store, targets: Iterable[Digest]) -> list[str]:
    """The keys of what was damaged and set aside."""
    return [
        layout.quarantine(digest, one)
        for digest in sorted(targets)
        for one in await store.driver.children(layout.quarantined(digest))
    ]


def why_gone(trash: Iterable[InTrash], standing: Collection[tuple[str, str]]) -> str:
    """Why repositories do not have it any more: in words for the one that lost it last, empty for none.

    `standing` are the repositories that have it, each with as what. One user's delete keeps it away.
    """
    lost: dict[tuple[str, str], InTrash] = {}
    for one in sorted(trash, key=lambda one: (one.run.startswith(BY_USER), one.at)):
        if one.repository is not None and (one.repository, one.kind) not in standing:
            lost[one.repository, one.kind] = one
    if not lost:
        return ""
    last = max(lost.values(), key=lambda one: (one.run.startswith(BY_USER), one.at))
    others = len({one.repository for one in lost.values()} - {last.repository})
    return last.sentence() + (f"; gone from other repositories, too: {others}" if others else "")


async def content_of_link(store: Store, key: str) -> Digest | None:
    """The digest that a link contains; None where that cannot be read."""
    try:
        return await store.links.read(key)
    except (NotFound, RegistryError):
        return None


class _Tellers:
    """What the records of removals say, each read once, since that of a large repository is large."""

    def __init__(self, store: Store) -> None:
        self._runs = Runs(store.driver, store.effects)
        self._read: dict[str, tuple[str, str, str]] = {}

    async def of(self, name: str, repository: str | None, kind: str) -> InTrash:
        if name not in self._read:
            run = await self._runs.read(name)
            self._read[name] = (run.at, run.by, run.why) if run else ("", "", "")
        at, by, why = self._read[name]
        return InTrash(name, at, by, repository, kind, why)
