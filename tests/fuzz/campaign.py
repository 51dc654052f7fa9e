"""Many exchanges with one server, several at a time, each made from a seed and a number alone."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.exchange import Exchange, converse
from tests.fuzz.judge import problems

AT_ONCE = 8
_SHOWN_BYTES = 3000

# Makes an exchange by chance, with these paths, and with this number in whatever it marks.
Maker = Callable[[random.Random, tuple[str, ...], str], Exchange]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, and how to have it again."""

    seed: int
    number: int
    exchange: Exchange
    problems: tuple[str, ...]

    def __str__(self) -> str:
        sent = self.exchange.sent
        shown = repr(sent) if len(sent) <= _SHOWN_BYTES else f"{sent[:_SHOWN_BYTES]!r}… ({len(sent)} bytes)"
        told = "\n    ".join(self.problems)
        return f"{self.exchange.kind} (SEED={self.seed}, exchange {self.number}):\n    {told}\n    {shown}"


def made(makers: Iterable[Maker], seed: int, number: int, paths: tuple[str, ...]) -> Exchange:
    """The exchange of that number."""
    chance = random.Random(f"{seed}:{number}")
    return chance.choice(list(makers))(chance, paths, f"{seed}-{number}")


def run(
    host_port: str,
    makers: Iterable[Maker],
    seed: int,
    count: int,
    paths: tuple[str, ...],
    keep: Path,
    tls: ssl.SSLContext | None = None,
) -> list[Failure]:
    """Hold `count` exchanges; those that went wrong, whose bytes are kept in a folder too."""
    makers = list(makers)

    def one(number: int) -> Failure | None:
        exchange = made(makers, seed, number, paths)
        wrong = tuple(problems(exchange, converse(host_port, exchange, tls)))
        if not wrong:
            return None
        (keep / f"{seed}-{number}.bytes").write_bytes(exchange.sent)
        return Failure(seed, number, exchange, wrong)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [failure for failure in pool.map(one, range(count)) if failure is not None]
