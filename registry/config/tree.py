"""The settings tree, put together from the rooms' own settings, and its leaves."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, model_validator

from registry.access.settings import AccessSettings, AuditSettings
from registry.api.settings import ApiSettings
from registry.bundles.settings import BundlesSettings
from registry.core.settings import CoreSettings
from registry.mirror.settings import MirrorsSettings
from registry.remote.settings import EgressSettings
from registry.server.settings import ListenerSettings, LogSettings, ServerSettings
from registry.settings import Secret
from registry.store.settings import StorageSettings
from registry.upkeep.settings import UpkeepSettings

Path = tuple[str, ...]
# Before the name of a namespace, the name of its listener.
BOUND = "mirror:"
_MANY = (list, tuple, set, frozenset)


class Config(CoreSettings, ApiSettings, ServerSettings, MirrorsSettings, UpkeepSettings):
    """Everything that an operator may set; a `Config` is the settings of each of these rooms."""

    storage: StorageSettings = StorageSettings()
    access: AccessSettings = AccessSettings()
    egress: EgressSettings = EgressSettings()
    bundles: BundlesSettings = BundlesSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _counts_what_is_bounded(self) -> Config:
        if self.quotas and not self.usage.enabled:
            raise ValueError(
                "quotas need usage.enabled: without counts what is deleted makes no room, and what was there"
                " before never counts"
            )
        return self

    @property
    def further_listeners(self) -> tuple[ListenerSettings, ...]:
        """Those of the namespaces that have one of their own."""
        return tuple(
            ListenerSettings(f"{BOUND}{one.name}", one.listen, f"mirrors[{at}].listen")
            for at, one in enumerate(self.mirrors)
            if one.listen is not None
        )

    @property
    def needs_seal(self) -> bool:
        """Whether secrets in the store must be sealed: others than the server may read a bucket."""
        return self.storage.driver != "local" and self.access.seal is None

    @property
    def scrubs(self) -> bool:
        """Whether servers read everything again; a bucket's store does, and takes money for reading."""
        chosen = self.scrub.enabled
        return self.storage.driver == "local" if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting: where it is, and what the places it can be written at must know of it."""

    path: Path
    is_secret: bool
    is_list: bool
    # Where it is a list of sections, what each of them is; only the file has room for those.
    section: type[BaseModel] | None = None

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
        sections = [kind for kind in kinds if _is_section(kind)]
        if sections:
            yield from leaves(sections[0], path)
        else:
            is_list = any(get_origin(kind) in _MANY for kind in kinds)
            inner = [one for kind in kinds for one in get_args(kind) if _is_section(one)]
            yield Leaf(path, Secret in kinds, is_list, inner[0] if inner else None)


def sections(tree: type[BaseModel], above: Path = ()) -> Iterator[Path]:
    """The paths that hold settings rather than being one, without those that may be absent."""
    for name, field in tree.model_fields.items():
        kind: Any = field.annotation
        if _is_section(kind):
            yield (*above, name)
            yield from sections(kind, (*above, name))


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kinds(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation
