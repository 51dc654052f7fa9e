"""The settings tree, put together from the rooms' own settings, and its leaves."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from registry.access.settings import AccessSettings
from registry.api.settings import ApiSettings
from registry.core.settings import CoreSettings
from registry.server.settings import LogSettings, ServerSettings
from registry.settings import Secret
from storage.settings import StorageSettings

Path = tuple[str, ...]
_MANY = (list, tuple, set, frozenset)


class Config(CoreSettings, ApiSettings, ServerSettings):
    """Everything that an operator may set; a `Config` is the settings of each of these rooms."""

    storage: StorageSettings = StorageSettings()
    access: AccessSettings = AccessSettings()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting: where it is, and what the places it can be written at must know of it."""

    path: Path
    is_secret: bool
    is_list: bool

    @property
    def name(self) -> str:
        """The path as people write it."""
        return ".".join(self.path)

    @property
    def file_path(self) -> Path:
        """Where a secret's file is named instead of the secret."""
        return (*self.path[:-1], f"{self.path[-1]}_file")


def leaves(tree: type[BaseModel], above: Path = ()) -> Iterator[Leaf]:
    """Every setting of a tree, those of optional sections too, in the order they are declared."""
    for name, field in tree.model_fields.items():
        path = (*above, name)
        kinds = list(_kinds(field.annotation))
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if sections:
            yield from leaves(sections[0], path)
        else:
            yield Leaf(path, Secret in kinds, any(get_origin(kind) in _MANY for kind in kinds))


def sections(tree: type[BaseModel], above: Path = ()) -> Iterator[Path]:
    """The paths that hold settings rather than being one, without those that may be absent."""
    for name, field in tree.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield (*above, name)
            yield from sections(kind, (*above, name))


def _kinds(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation
