"""What upkeep offers for moving: a store copied to another place, and two stores compared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from registry.errors import Unsupported
from registry.model.units import format_size
from registry.store.store import Store
from registry.upkeep.comparing import Comparing, Difference
from registry.upkeep.copying import Copying, NotCopied
from registry.work.operations import Context, Operation, Progress, Result, Status, option

Outcome = AsyncIterator[Progress | Result]

_FROM = "the source: a directory, or a configuration file that names the storage; else the configured one"
_TO = "the target: a directory, or a configuration file that names the storage"


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, where it is, and what tells the key that its secrets are sealed with (None: with none)."""

    store: Store
    place: str
    seal: str | None


# Opens the store of a place, of which the text is a directory or a configuration file (None: the configured
# one), to be called `who` in errors; it must be there already unless `new`.
Opening = Callable[..., AbstractAsyncContextManager[Opened]]


@dataclass(frozen=True, slots=True)
class Copy:
    """From where to where."""

    to: str = option(_TO)
    from_: str | None = option(_FROM, default=None)
    with_secrets: bool = option(
        "accounts, API keys and signing keys too; the target needs the same access.seal_key_file then",
        default=False,
    )


@dataclass(frozen=True, slots=True)
class CopyDone:
    """What came over, what the source had lost, and whether this was the last pass."""

    last: bool
    repositories: int
    objects: int
    data_bytes: int
    removed: int
    problems: list[NotCopied]

    def told(self) -> str | None:
        """What has happened, and what to do next; what could not be copied is told in a table."""
        if self.problems:
            return None
        done = f"repositories: {self.repositories}, objects copied: {self.objects}"
        done += f", bytes of data: {format_size(self.data_bytes)}, removed: {self.removed}"
        if self.last:
            return f"{done}\nthe target has all that the source has, and takes writes from now on"
        return (
            f"{done}\nthe source takes writes: copy again for what is new. For the last pass run `moorage"
            " storage read-only on` on the source; until then nobody writes to the target"
        )


@dataclass(frozen=True, slots=True)
class Verify:
    """Which two."""

    to: str = option(_TO)
    from_: str | None = option(_FROM, default=None)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared, and where the two differ."""

    objects: int
    hashed_bytes: int
    differences: list[Difference]

    def told(self) -> str | None:
        """One line for two that are alike; differences are told in a table."""
        if self.differences:
            return None
        hashed = format_size(self.hashed_bytes)
        return f"no differences; objects compared: {self.objects}, bytes of the target hashed: {hashed}"


def operations(opening: Opening) -> Iterable[Operation[Any]]:
    """The operations on two stores, each opened by `opening`."""

    async def storage_copy(asked: Copy, _: Context) -> Outcome:
        async with (
            opening(asked.from_, "the source") as source,
            opening(asked.to, "the target", new=True) as target,
        ):
            if asked.with_secrets and source.seal != target.seal:
                raise Unsupported(
                    "the source's secrets are not sealed by the same access.seal_key_file as the target's:"
                    " there they could not be read, or would lie open; name the configuration files"
                    " of both, with the same key, or leave --with-secrets out"
                )
            copying = Copying(source.store, target.store, with_secrets=asked.with_secrets)
            try:
                async for step in copying.run():
                    yield step
            except Unsupported as error:
                places = f"the source is {source.place}, the target {target.place}"
                raise Unsupported(f"{error}; {places}") from error
        copied = copying.copied
        done = CopyDone(
            copying.last,
            copied.repositories,
            copied.objects,
            copied.data_bytes,
            copied.removed,
            copied.problems,
        )
        yield Result(done, Status.DAMAGED if copied.problems else Status.DONE)

    async def storage_verify(asked: Verify, _: Context) -> Outcome:
        async with opening(asked.from_, "the source") as source, opening(asked.to, "the target") as target:
            comparing = Comparing(source.store, target.store)
            async for step in comparing.run():
                yield step
        found = comparing.compared
        verified = Verified(found.objects, found.hashed_bytes, found.differences)
        yield Result(verified, Status.DAMAGED if found.differences else Status.DONE)

    return (
        Operation(
            "storage.copy",
            "Copy a store to another place, while the source serves; repeat it for what is new",
            "admin",
            False,
            Copy,
            storage_copy,
            local=True,
            own_places=True,
            result=CopyDone,
        ),
        Operation(
            "storage.verify",
            "Compare a store with a copy of it, and hash what the copy holds; changes nothing",
            "admin",
            False,
            Verify,
            storage_verify,
            local=True,
            own_places=True,
            result=Verified,
        ),
    )
