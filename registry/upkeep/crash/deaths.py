"""One process after the other that does the same and is killed one file call later."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from registry.core.registry import Registry
from registry.upkeep.crash.acts import ACTS, prepare
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.ledger import Fact, Ledger, Value
from storage.dying import DyingFiles
from storage.files import Files

Opening = Callable[[str, Files], AbstractAsyncContextManager[Registry]]
"""Opens a registry on a directory; a function of a module, since other processes are told its name."""

_STUCK_SECONDS = 60


class Failed(Exception):
    """A process neither did all that it was to do nor was killed while it did."""


@dataclass(frozen=True, slots=True)
class Death:
    """What one process left: it did `act` and was killed before its file call `number`, or `ended`."""

    act: str
    number: int
    root: str
    ledger: Ledger
    ended: bool


async def deaths(scratch: Path, opening: Opening, acts: Sequence[str] = tuple(ACTS)) -> AsyncIterator[Death]:
    """Kill a process at each file call of each act; what it left lies there until the next is asked for."""
    if not acts:
        return
    base = scratch / "base"
    ledger = Ledger()
    async with opening(str(base), Files()) as registry:
        await prepare(Client(registry, ledger.note))
    # Forked from a process that has no threads, since a lock that one of them held would stay locked.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([opening.__module__])
    for act in acts:
        for number in count():
            root = scratch / "killed"
            await asyncio.to_thread(shutil.copytree, base, root)
            told, code = await asyncio.to_thread(_let_die, forks, opening, str(root), act, number)
            after = Ledger(dict(ledger.may_be))
            for one in told:
                after.note(*one)
            yield Death(act, number, str(root), after, ended=code == 0)
            await asyncio.to_thread(shutil.rmtree, root)
            if code == 0:
                break


def _let_die(
    forks: multiprocessing.context.ForkServerContext, opening: Opening, root: str, act: str, number: int
) -> tuple[list[tuple[Fact, Value, bool]], int | None]:
    heard, telling = forks.Pipe(duplex=False)
    process = forks.Process(target=_live, args=(opening, root, act, number, telling))
    process.start()
    telling.close()
    told = []
    with heard:
        while heard.poll(_STUCK_SECONDS):
            try:
                told.append(heard.recv())
            except EOFError:
                process.join()
                if process.exitcode not in (0, -signal.SIGKILL):
                    raise Failed(
                        f"{act} failed before file call {number}; the process has said why"
                    ) from None
                return told, process.exitcode
    process.kill()
    process.join()
    raise Failed(f"{act}: nothing happens any more before file call {number}")


def _live(opening: Opening, root: str, act: str, number: int, telling: Connection) -> None:
    """In the process that is to die."""

    async def live() -> None:
        files = DyingFiles()
        async with opening(root, files) as registry:
            files.left = number
            await ACTS[act](Client(registry, lambda *told: telling.send(told)))

    asyncio.run(live())
