"""The table of all operations: what doors may rely on, and what a description of it says."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_args

import pytest

from registry.access.rights import RIGHTS, Right
from registry.app.offering import operations
from registry.app.rooms import NOUNS
from registry.config import Config
from registry.work.inputs import fields
from registry.work.operations import Operation
from tests.operations.asking import Client, api
from tests.operations.description import DOCUMENT, OFFERED, TABLE, resolved, result_fits, schemas

# The keywords of JSON Schema (2020-12) that we use, and the kinds of what stands behind them.
KEYWORDS: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "title": str,
    "description": str,
    "format": str,
    "properties": dict,
    "required": list,
    "items": dict,
    "anyOf": list,
    "enum": list,
    "additionalProperties": (bool, dict),
    "minItems": int,
    "minLength": int,
    "writeOnly": bool,
    "default": object,
    "$ref": str,
}
TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}


@pytest.mark.parametrize("noun", [*sorted(NOUNS), "no noun"])
def test_the_table_of_a_noun_is_that_part_of_the_whole(noun: str) -> None:
    found = [one.name for one in operations(Config(), noun)]
    assert sorted(found) == sorted(one.name for one in TABLE if one.words[0] == noun or noun not in NOUNS)
    assert found


@pytest.mark.parametrize("operation", TABLE, ids=lambda one: one.name)
class TestEachOperation:
    def test_is_called_by_noun_and_verb(self, operation: Operation[Any]) -> None:
        assert re.fullmatch(r"[a-z]+\.([a-z]+\.)?[a-z]+(-[a-z]+)*", operation.name)
        assert operation.summary and not operation.summary.endswith(".")

    def test_needs_a_right_that_rules_can_grant(self, operation: Operation[Any]) -> None:
        assert operation.right in RIGHTS
        assert operation.right in get_args(Right)

    def test_changes_something_if_it_deletes(self, operation: Operation[Any]) -> None:
        assert operation.changes or not operation.deletes

    def test_has_an_input_that_every_door_understands(self, operation: Operation[Any]) -> None:
        for field in fields(operation.input):
            assert field.help
            assert field.name != "dry_run"
            if not field.required:
                assert field.local or field.read(field.written(field.default)) == field.default

    def test_has_a_record_for_a_result(self, operation: Operation[Any]) -> None:
        assert dataclasses.is_dataclass(operation.result)
        assert operation.result.__str__ is object.__str__


def test_the_document_has_the_parts_that_openapi_asks_for() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert DOCUMENT["servers"] == [{"url": "/api/v1"}]
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {name for one in DOCUMENT["security"] for name in one} == set(schemes)
    assert all(one["type"] == "http" and one["scheme"] in ("basic", "bearer") for one in schemes.values())
    for part in ("schemas", "responses", "securitySchemes"):
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in DOCUMENT["components"][part])


def test_the_document_covers_every_operation() -> None:
    described = {path["post"]["operationId"]: path["post"] for path in DOCUMENT["paths"].values()}
    assert list(described) == [one.name for one in OFFERED]
    for one in OFFERED:
        post = described[one.name]
        assert DOCUMENT["paths"][f"/{one.name.replace('.', '/')}"]["post"] is post
        assert (post["summary"], post["x-moorage-right"]) == (one.summary, one.right)
        assert set(post["responses"]) == {"200", "default"}
        assert all("description" in one or "$ref" in one for one in post["responses"].values())
        given = post["requestBody"]["content"]["application/json"]["schema"]
        remote = [field for field in fields(one.input) if not field.local]
        assert set(given["properties"]) == {field.name for field in remote} | (
            {"dry_run"} if one.rehearses else set()
        )
        assert given["required"] == [field.name for field in remote if field.required]
        assert given["additionalProperties"] is False
        result = resolved(f"#/components/schemas/{one.name}.result")["properties"]["result"]
        assert set(result["properties"]) == {field.name for field in dataclasses.fields(one.result)}


def test_every_schema_is_one() -> None:
    found = list(schemas(DOCUMENT))
    assert len(found) > 50
    for place, schema in found:
        assert schema, place
        for name, value in schema.items():
            assert isinstance(value, KEYWORDS[name]), f"{place}: {name}"
        if "type" in schema:
            assert schema["type"] in TYPES, place
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), place
        if "$ref" in schema:
            assert resolved(schema["$ref"]), place


def test_every_reference_leads_somewhere() -> None:
    references = re.findall(r"'\$ref': '([^']+)'", str(DOCUMENT))
    assert references
    for reference in references:
        assert resolved(reference)


async def test_the_document_is_served() -> None:
    answer = await Client(api(TABLE)).ask("GET", "/api/v1/openapi.json")
    assert answer.json() == DOCUMENT


def test_what_does_not_fit_a_schema_is_seen() -> None:
    good: dict[str, Any] = {"status": "done", "result": {"repositories": ["a"], "next": None}, "note": ""}
    assert result_fits("repo.list", good)
    wrong: list[Any] = [
        {**good, "status": "odd"},
        {**good, "result": {"repositories": [1], "next": None}},
        {**good, "result": {"repositories": ["a"]}},
        {"status": "done"},
        [],
    ]
    assert not any(result_fits("repo.list", one) for one in wrong)
