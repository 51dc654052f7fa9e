"""Whatever is sent to an operation, the answer is a result or an error in JSON, and never one of our own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.core.operations import operations as core_operations
from registry.upkeep.operations import operations as upkeep_operations
from registry.work.inputs import fields
from tests.inmemory import NAME, TAG, World, image
from tests.operations.asking import JSON, LINES, Answer, Client, api, place
from tests.operations.description import OFFERED, result_fits

NAMES = [one.name for one in OFFERED]
KNOWN = sorted({field.name for one in OFFERED for field in fields(one.input)} | {"dry_run"})
TEXTS = st.one_of(
    st.text(max_size=300), st.sampled_from([NAME, f"{NAME}:{TAG}", "on", "off", "a" * 256, "../..", "\0", ""])
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.one_of(st.sampled_from(KNOWN), TEXTS), VALUES, max_size=6)
BODIES = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    DOCUMENTS.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    DOCUMENTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
)


async def asked(name: str, body: bytes, headers: list[tuple[str, str]]) -> Answer:
    """The answer of a registry that holds an image."""
    world = World()
    await world.push(image("one"))
    table = [*core_operations(lambda: world.registry), *upkeep_operations(lambda: world.registry)]
    client = Client(api([one for one in table if one.name == name]))
    return await client.ask("POST", place(name), headers, body)


def judge(name: str, answer: Answer) -> None:
    assert answer.status < 500
    if answer.headers["content-type"] == "application/json":
        documents: list[Any] = [answer.json()]
    else:
        documents = answer.lines()
    last = documents[-1]
    if answer.status == 200 and "errors" not in last:
        assert result_fits(name, last)
    else:
        assert all(one["code"] and one["message"] for one in last["errors"])
        assert all(one["code"] != "UNKNOWN" for one in last["errors"])


OURS = [name for name in NAMES if name.partition(".")[0] in ("repo", "tag", "storage")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OURS), BODIES, st.booleans())
def test_any_body(name: str, body: bytes, lines: bool) -> None:
    headers = [JSON, LINES] if lines else [JSON]
    judge(name, asyncio.run(asked(name, body, headers)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["content-type", "accept", "authorization", "origin", "x"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
        ),
        max_size=4,
    )
)
def test_any_headers(headers: list[tuple[str, str]]) -> None:
    judge("repo.list", asyncio.run(asked("repo.list", b"{}", headers)))
