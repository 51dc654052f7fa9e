"""Operations by which the sides tell each other: inventories, receipts, and what may be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles
from registry.bundles.given import read_file, write_file
from registry.bundles.holds import short_id
from registry.bundles.inventory import lines_of_registry
from registry.bundles.receipts import code_in
from registry.bundles.sources import OwnSource
from registry.errors import InputInvalid, RequestInvalid
from registry.model.patterns import RepositoryPattern
from registry.model.selection import Selection
from registry.work.operations import Context, Operation, Progress, Result, argument, option

Outcome = AsyncIterator[Progress | Result]

_LINE = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """What to list."""

    repositories: tuple[str, ...] = option("only these, by patterns such as team/**", default=())
    to: Path | None = option("write it to this file", default=None, local=True)


@dataclass(frozen=True, slots=True)
class Inventoried:
    """What is held here, as a text for the other side; it stays held until it is forgotten."""

    sha256: str
    lines: int
    text: str | None

    def told(self) -> str:
        """The text, or where it went."""
        if self.text is not None:
            return self.text.rstrip("\n")
        return f"{self.lines} lines were written"


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """What has come back."""

    receipt: str = argument("a receipt's file, or the code in it: 7K2M-0Q9X-4TZB-R31C")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A bundle that has arrived: the next of its stream builds on it."""

    id: str
    stream: str
    number: int

    def told(self) -> str:
        """What follows."""
        return f"{self.id} has arrived; the next bundle of {self.stream} builds on number {self.number}"


@dataclass(frozen=True, slots=True)
class Forget:
    """What is not to be held any more."""

    id: str = argument("the id of a bundle that was written here, or what that of an inventory begins with")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is not held any more, and nothing builds on: a bundle or an inventory."""

    id: str
    kind: str

    def told(self) -> str:
        """What follows."""
        if self.kind == "inventory":
            return f"what the inventory {short_id(self.id)} lists is held no more"
        return f"what {self.id} states is held no more, and no bundle builds on it"


def operations(bundles: Callable[[], Bundles]) -> Iterable[Operation[Any]]:
    """Operations of both sides."""

    async def bundle_inventory(asked: Ask, context: Context) -> Outcome:
        registry = bundles().registry
        selection = _selection(asked.repositories)
        names = [
            name
            async for name in registry.store.catalog.names()
            if selection.has_repository(name) and context.may("pull", name, None)
        ]
        lines: list[str] = []
        source = OwnSource(registry)
        near = bundles().settings.export.source
        async for line in lines_of_registry(registry.store, source, names, near):
            lines.append(line)
            if len(lines) % 1000 == 0:
                yield Progress(len(lines), None, "items", "lines")
        text = "\n".join([*lines, ""])
        registry.require_writable()
        sha256 = await bundles().holds.give(text.encode())
        if asked.to is not None:
            write_file(asked.to, text)
        called = short_id(sha256)
        note = (
            f"it is inventory {called}, what it lists is held here: `moorage bundle list` says until when,"
            f" and `moorage bundle forget {called}` ends that"
        )
        if not names:
            note = f"no repository matches {', '.join(asked.repositories) or '**'}; {note}"
        yield Result(Inventoried(sha256, len(lines), None if asked.to is not None else text), text=note)

    async def bundle_acknowledge(asked: Acknowledge, context: Context) -> Outcome:
        text = asked.receipt
        if context.via == "command line" and (path := Path(text)).is_file():
            text = read_file(path, _LINE).decode("utf-8", "replace")
        try:
            code = code_in(text)
        except RequestInvalid:
            raise RequestInvalid(
                f"{asked.receipt} is neither a file with a receipt nor its code, such as 7K2M-0Q9X-4TZB-R31C"
            ) from None
        sent = bundles().exporting.sent
        one = await sent.arrived(code)
        if one is None:
            raise RequestInvalid(
                f"no bundle that was written here has a receipt with the code {code}; `moorage bundle list`"
                " shows those that wait for one"
            )
        bundles().registry.require_writable()
        await sent.note(one.head, "acknowledged")
        await bundles().holds.let_go(one.head.stream)
        yield Result(Acknowledged(one.head.id, one.head.stream, one.head.number))

    async def bundle_forget(asked: Forget, _: Context) -> Outcome:
        bundles().registry.require_writable()
        inventory = await bundles().holds.forget(asked.id)
        if inventory is None:
            one = await bundles().exporting.sent.find(asked.id)
            await bundles().exporting.sent.note(one.head, "forgotten")
            await bundles().holds.let_go(one.head.stream)
        yield Result(Forgotten(inventory or asked.id, "bundle" if inventory is None else "inventory"))

    return (
        Operation(
            "bundle.inventory",
            "Say what is held here, for the other side to leave out",
            "admin",
            False,
            Ask,
            bundle_inventory,
            changes=True,
            event="bundle.inventory",
            result=Inventoried,
        ),
        Operation(
            "bundle.acknowledge",
            "Note that a bundle has arrived, by its receipt or the code in it",
            "admin",
            False,
            Acknowledge,
            bundle_acknowledge,
            changes=True,
            event="bundle.acknowledged",
            result=Acknowledged,
        ),
        Operation(
            "bundle.forget",
            "Hold no more what a bundle or an inventory needs",
            "admin",
            False,
            Forget,
            bundle_forget,
            changes=True,
            event="bundle.forgotten",
            result=Forgotten,
        ),
    )


def _selection(patterns: Iterable[str]) -> Selection:
    try:
        return Selection(tuple(RepositoryPattern(one) for one in patterns) or (RepositoryPattern("**"),), ())
    except ValueError as error:
        raise InputInvalid(f"--repositories: {error}") from None
