"""The kinds of values that a setting can have besides pydantic's own."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    SerializationInfo,
)
from pydantic_core import CoreSchema, core_schema

from registry.model.units import format_duration, parse_duration, parse_size

HIDDEN = "[hidden]"
# As the context of a dump: for a process that takes the place of this one.
REVEALED = ("secrets", "revealed")


class Settings(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret:
    """A text that does not print; `reveal` gives it to whoever needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Text in, a secret inside; `[hidden]` out, unless the context is `REVEALED`."""
        return core_schema.no_info_plain_validator_function(
            cls._of,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._written, info_arg=True),
        )

    def _written(self, info: SerializationInfo) -> str:
        return self._text if info.context is REVEALED else HIDDEN

    @classmethod
    def _of(cls, value: object) -> Secret:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError("must be a text, not an empty one")
        return cls(value)


def exact_size(size_bytes: int) -> str:
    """A size in the largest binary unit that divides it, so that it reads back as the same number."""
    if size_bytes:
        for bits, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
            if size_bytes % (1 << bits) == 0:
                return f"{size_bytes >> bits}{unit}"
    return f"{size_bytes}B"


def _duration(value: object) -> object:
    return timedelta(seconds=parse_duration(value)) if isinstance(value, str) else value


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be an address or a network like 10.0.0.0/8: {error}") from None


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(_size), PlainSerializer(exact_size, return_type=str)]
"""Bytes, written with a unit: `4MiB`."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: format_duration(value.total_seconds()), return_type=str),
]
"""A length of time, written with a unit: `7d`, `1h30m`."""

Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    BeforeValidator(_network),
    PlainSerializer(str, return_type=str),
]
"""An address or a network: `127.0.0.1`, `10.0.0.0/8`."""
