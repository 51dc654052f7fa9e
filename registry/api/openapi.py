"""The description of the operations API (OpenAPI 3.1), made from the table of operations."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from registry.api.progress import LINES
from registry.work.inputs import InputField, fields
from registry.work.operations import Operation, Progress, Status

Schema = dict[str, Any]

_VERSION = "1"
_TEXT: Schema = {"type": "string"}
_ABOUT = """\
Administration of a Moorage registry: each operation is also a command, `moorage NOUN VERB`.

Whoever asks needs the right that the operation names (`x-moorage-right`), by the access rules. With
`Accept: application/x-ndjson` the answer has a line for each progress, and the result or the errors last."""


def describe(by_path: Mapping[str, Operation[Any]], address: str) -> Schema:
    """The whole document; `address` is where the API is, relative to the host."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Moorage: operations", "version": _VERSION, "description": _ABOUT},
        "servers": [{"url": address}],
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": {path: {"post": _operation(one)} for path, one in by_path.items()},
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": {
                "Errors": _errors(),
                "Progress": of_type(Progress),
                **{_result(one): _outcome(one) for one in by_path.values()},
            },
            "responses": {
                "Refused": {
                    "description": "It was not done; 401 and 403 by the rules, 400, 413 and 415 for its"
                    " input, 404 for what is not there, 405 for what is switched off, 429 and 503 for now.",
                    "content": {"application/json": {"schema": _reference("Errors")}},
                }
            },
        },
    }


def _operation(operation: Operation[Any]) -> Schema:
    result = _reference(_result(operation))
    line = {"anyOf": [_object({"progress": _reference("Progress")}), result, _reference("Errors")]}
    return {
        "operationId": operation.name,
        "tags": [operation.words[0]],
        "summary": operation.summary,
        "x-moorage-right": operation.right,
        "x-moorage-changes": operation.changes,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _input(operation)}},
        },
        "responses": {
            "200": {
                "description": "It was done, or looked at; `status` says with what outcome.",
                "content": {"application/json": {"schema": result}, LINES: {"schema": line}},
            },
            "default": {"$ref": "#/components/responses/Refused"},
        },
    }


def _result(operation: Operation[Any]) -> str:
    return f"{operation.name}.result"


def _outcome(operation: Operation[Any]) -> Schema:
    status = {"enum": [one.value for one in Status]}
    return _object({"status": status, "result": of_type(operation.result), "note": _TEXT})


def _input(operation: Operation[Any]) -> Schema:
    offered = [field for field in fields(operation.input) if not field.local]
    properties = {field.name: _field(field) for field in offered}
    if operation.rehearses:
        properties["dry_run"] = {
            "type": "boolean",
            "default": False,
            "description": "change nothing, only say what would be done",
        }
    return {
        "type": "object",
        "description": inspect.cleandoc(operation.input.__doc__ or ""),
        "properties": properties,
        "required": [field.name for field in offered if field.required],
        "additionalProperties": False,
    }


def _field(field: InputField) -> Schema:
    one: Schema = {"type": field.json}
    if field.choices:
        one["enum"] = list(field.choices)
    if field.secret:
        one |= {"format": "password", "writeOnly": True, "minLength": 1}
    schema: Schema = {"type": "array", "items": one} if field.many else one
    if field.default is None:
        schema = {"anyOf": [schema, {"type": "null"}]}
    schema["description"] = field.help
    if not field.required:
        schema["default"] = field.written(field.default)
    return schema


def of_type(kind: Any) -> Schema:
    """The schema of what `plain` makes of a value of this type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(one) for one in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": of_type(inner[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": of_type(inner[1])}
    if kind is type(None):
        return {"type": "null"}
    if dataclasses.is_dataclass(kind) and kind.__str__ is object.__str__:
        hints = typing.get_type_hints(kind)
        schema = _object({field.name: of_type(hints[field.name]) for field in dataclasses.fields(kind)})
        return {"title": getattr(kind, "__name__", ""), **schema}
    if issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    for scalar, name in ((bool, "boolean"), (int, "integer"), (float, "number")):
        if issubclass(kind, scalar):
            return {"type": name}
    return dict(_TEXT)


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _errors() -> Schema:
    entry = _object({"code": _TEXT, "message": _TEXT})
    entry["properties"]["detail"] = {"description": "what it is about; of an input that is wrong, the field"}
    errors = _object({"errors": {"type": "array", "items": entry, "minItems": 1}})
    # Not of those who answer before an operation is begun: the server itself, a proxy.
    errors["properties"]["status"] = {"enum": [one.value for one in Status if one is not Status.DONE]}
    return errors
