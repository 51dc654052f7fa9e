"""One request and its answer, without a connection."""

from __future__ import annotations

from typing import Any, cast

from registry.errors import Unavailable
from registry.server.conditions import Conditions
from registry.server.connections import Connections
from registry.server.exchange import Connection, Exchange
from registry.server.settings import TimeoutSettings
from storage.sharing import Share


class Stub:
    """A connection that nobody writes to."""

    def taken(self) -> None:
        """As a connection."""


async def test_what_comes_behind_the_end_of_a_body_that_broke_off_does_not_make_it_whole() -> None:
    conditions = Conditions(TimeoutSettings(), Connections(1))
    exchange = Exchange(
        cast(Connection, Stub()), cast(Any, {}), conditions, keep_alive=True, expects_continue=False
    )
    exchange.add(b"before")
    why = Unavailable("restarting")
    exchange.break_off(why)
    exchange.add(b"behind")
    exchange.end_body()
    assert await exchange.receive() == {"type": "http.request", "body": b"before", "more_body": True}
    for _ in range(2):
        assert await exchange.receive() == {"type": "http.disconnect", "error": why}
    assert not exchange.keep_alive


async def test_a_whole_body_does_not_break_off_any_more() -> None:
    conditions = Conditions(TimeoutSettings(), Connections(1))
    exchange = Exchange(
        cast(Connection, Stub()), cast(Any, {}), conditions, keep_alive=True, expects_continue=False
    )
    exchange.add(b"all")
    exchange.end_body()
    exchange.break_off(Unavailable())
    assert await exchange.receive() == {"type": "http.request", "body": b"all", "more_body": False}
    assert not exchange.breaking_off


def test_pieces_count_for_what_they_take_in_memory_and_not_for_what_they_say() -> None:
    share = Share(1 << 20, least=1 << 10, most=1 << 20)
    conditions = Conditions(TimeoutSettings(), Connections(1), share)
    exchange = Exchange(
        cast(Connection, None), cast(Any, {}), conditions, keep_alive=True, expects_continue=False
    )
    # Each two bytes of a body can come as a piece of their own, and be an object of fifty.
    count = next(number for number in range(1, 1 << 20) if exchange.add(b"ab"))
    assert count * 50 < 1 << 20
    exchange.leave()
