"""What must hold of any answer to anything."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.fuzz.exchange import Exchange, Garbled, Heard, Response, responses

# Answers beyond these are defects of the server; 503 has to say when to come back.
_REFUSALS = frozenset({501, 503, 505, 507})


def problems(exchange: Exchange, heard: Heard) -> Iterator[str]:
    """What is wrong with what came back."""
    if heard.hung:
        yield "the server neither answered nor closed"
    try:
        found = responses(heard.data, exchange.methods)
    except Garbled as error:
        # Whoever says the end while an answer is on its way may lose the rest of it.
        if not heard.after_end:
            yield f"garbled: {error}"
        return
    if any(not response.whole for response in found) and not heard.after_end:
        yield "an answer that is not whole"
    for response in found:
        yield from _of(response)
        if exchange.forbidden and exchange.forbidden.encode() in response.body:
            yield f"a request was smuggled: {exchange.forbidden} was answered"
    closing = [number for number, one in enumerate(found) if "close" in (one.get("connection") or "").lower()]
    if closing and closing[0] != len(found) - 1:
        yield "an answer behind one that said Connection: close"
    if exchange.expected is not None:
        yield from _in_order(exchange.expected, found)


def _of(response: Response) -> Iterator[str]:
    status = response.status
    if status >= 500 and status not in _REFUSALS:
        yield f"status {status}"
    if status == 503 and not response.get("retry-after"):
        yield "503 without Retry-After"
    kind = response.get("content-type") or ""
    if kind.startswith("text/"):
        yield f"an answer of type {kind}: {response.body[:100]!r}"
    if status >= 400 and response.body and response.whole:
        if kind != "application/json":
            yield f"an error of type {kind!r}"
        try:
            if not all(one["code"] and one["message"] for one in response.json()["errors"]):
                yield "an error without code or message"
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            yield f"an error that is not the specification's document: {error!r}"


def _in_order(expected: tuple[str, ...], found: list[Response]) -> Iterator[str]:
    # Behind an early answer, with a body of unknown length still to come, the server may close.
    closed_early = bool(found) and len(found) < len(expected) and found[-1].get("connection") == "close"
    if len(found) != len(expected) and not closed_early:
        yield f"{len(found)} answers to {len(expected)} requests: {[one.status for one in found]}"
    for words, response in zip(expected, found, strict=False):
        if words.encode() not in response.body and words not in (response.get("location") or ""):
            yield f"the answer is not the one to {words!r}: {response.body[:200]!r}"
