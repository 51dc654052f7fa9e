"""One request and its answer, without a connection."""

from __future__ import annotations

from typing import Any, cast

from registry.server.conditions import Conditions
from registry.server.connections import Connections
from registry.server.exchange import Connection, Exchange
from registry.server.settings import TimeoutSettings
from storage.sharing import Share


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
