"""Many clients at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bench.connection import Connection

Work = Callable[[Connection], None]


def together(connect: Callable[[], Connection], works: Sequence[Work]) -> None:
    """Each work on a connection and in a thread of its own; what any of them raises is raised here.

    The threads wait in the kernel nearly all of their time, so they do not get into each other's way.
    """

    def one(work: Work) -> None:
        with connect() as connection:
            work(connection)

    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(one, work) for work in works]:
            done.result()


def dealt(works: Iterable[Work], clients: int) -> list[Work]:
    """The works dealt to so many clients, each of which does its own one after the other."""
    hands: list[list[Work]] = [[] for _ in range(clients)]
    for number, work in enumerate(works):
        hands[number % clients].append(work)

    def all_of(hand: list[Work]) -> Work:
        def run(connection: Connection) -> None:
            for work in hand:
                work(connection)

        return run

    return [all_of(hand) for hand in hands if hand]
