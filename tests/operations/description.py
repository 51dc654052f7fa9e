"""The description of the operations API, as tests look at it: its schemas, and what fits them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.api.openapi import describe
from registry.app.offering import operations
from registry.config import Config

TABLE = list(operations(Config()))
OFFERED = [one for one in TABLE if not one.local]
DOCUMENT = describe({f"/{'/'.join(one.words)}": one for one in OFFERED}, "/api/v1")


def schemas(found: object, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a part of the document, with where it stands."""
    if not isinstance(found, dict):
        return
    for name, value in found.items():
        where = f"{place}/{name}"
        if name == "schema":
            yield from inner_schemas(value, where)
        elif name == "schemas":
            for one, schema in value.items():
                yield from inner_schemas(schema, f"{where}/{one}")
        else:
            yield from schemas(value, where)


def inner_schemas(schema: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, schema
    for name, one in schema.get("properties", {}).items():
        yield from inner_schemas(one, f"{place}/{name}")
    for number, one in enumerate(schema.get("anyOf", ())):
        yield from inner_schemas(one, f"{place}/anyOf/{number}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from inner_schemas(schema[name], f"{place}/{name}")


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    begin, *steps = reference.split("/")
    assert begin == "#"
    for step in steps:
        found = found[step]
    return found


def matches(schema: dict[str, Any], value: object) -> bool:
    """Whether a value is as a schema of ours has it."""
    if "$ref" in schema:
        return matches(resolved(schema["$ref"]), value)
    if "anyOf" in schema:
        return any(matches(one, value) for one in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    match schema.get("type"):
        case "object":
            if not isinstance(value, dict) or not set(schema.get("required", ())) <= set(value):
                return False
            known = schema.get("properties", {})
            more = schema.get("additionalProperties", {})
            return all(
                matches(known[name], one) if name in known else more is not False and matches(more, one)
                for name, one in value.items()
            )
        case "array":
            return isinstance(value, list) and all(matches(schema["items"], one) for one in value)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return True


def result_fits(name: str, document: object) -> bool:
    """Whether what an operation answered is as the description has it."""
    return matches({"$ref": f"#/components/schemas/{name}.result"}, document)
