"""Merging: defaults, then the file, then the environment, then flags, each leaf with its source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from registry.config.environment import CONFIG_VARIABLE, Overlay, read_environment
from registry.config.secret_files import read_secret_files
from registry.config.tree import Config, Leaf, Path, leaves, sections
from registry.settings import (
    MAXIMUM_BYTES,
    REVEALED,
    Document,
    Location,
    NotADocument,
    Problem,
    Source,
    in_order,
    problems_of,
    read_document,
)

T = TypeVar("T", bound=BaseModel)

# The few things that one sets by hand.
FLAGS: Mapping[str, Path] = {
    "--listen": ("registry", "listen"),
    "--root": ("storage", "root"),
    "--workers": ("workers",),
}

# Files and directories: what the configuration says of them holds wherever the server is started.
_BESIDE_THE_FILE: tuple[Path, ...] = (
    ("access", "rules_file"),
    ("access", "seal_key_file"),
    ("access", "tokens", "signing_key_files"),
    ("access", "issuers", "jwks_file"),
    ("access", "issuers", "ca_file"),
    ("access", "token_server", "certificates"),
    ("access", "token_server", "jwks_file"),
    ("access", "htpasswd_file"),
    ("access", "ldap", "ca_file"),
    ("access", "ldap", "bind_password_file"),
    ("audit", "file"),
    ("bundles", "export", "signing_key_file"),
    ("bundles", "export", "dir"),
    ("bundles", "import", "trusted_keys"),
    ("bundles", "import", "image_keys"),
    ("bundles", "import", "dir"),
    ("bundles", "import", "receipts_dir"),
    ("cache", "directory"),
    ("mirrors", "upstreams", "password_file"),
    ("mirrors", "upstreams", "ca_file"),
    ("retention", "in_use", "file"),
    ("storage", "root"),
    ("storage", "s3", "access_key_file"),
    ("storage", "s3", "secret_key_file"),
    ("storage", "s3", "ca_file"),
    ("registry", "tls", "certificate"),
    ("registry", "tls", "key"),
)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has all that is wrong with it.

    `rest` is what can be used of it, the defaults in the place of sections with problems; None if it is not
    known.
    """

    def __init__(self, problems: Sequence[Problem], rest: Resolved[Any] | None = None) -> None:
        ordered = in_order(problems)
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in ordered)
        super().__init__(f"the configuration has {count}:{lines}")
        self.problems = ordered
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A tree of settings, and where each of its leaves comes from."""

    config: T
    sources: Mapping[str, Source]


def load(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], flags: Mapping[str, str | None]
) -> Config:
    """The configuration; see `resolve`."""
    return resolve(path, environ, flags).config


def resolve(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], flags: Mapping[str, str | None]
) -> Resolved[Config]:
    """The configuration with its sources.

    `path` is the file, or None for the one that `MOORAGE_CONFIG` names, or none at all. `flags` are those of
    `FLAGS`; None is one that was not given. Raises ConfigError.
    """
    name = os.fspath(path) if path is not None else environ.get(CONFIG_VARIABLE) or None
    overlay: Overlay = {
        FLAGS[flag]: (value, Source("flag", flag)) for flag, value in flags.items() if value is not None
    }
    return merge(Config, None if name is None else _read(name), environ, overlay)


def written(config: Config) -> str:
    """The configuration as JSON with its secrets, for the process that takes the place of this one."""
    return config.model_dump_json(context=REVEALED)


def restored(text: str) -> Config | None:
    """The configuration that was `written`; None if it was by a version with other settings."""
    try:
        return Config.model_validate_json(text)
    except ValidationError:
        return None


def _read(name: str) -> Document:
    try:
        with open(name, "rb") as opened:
            document = read_document(opened.read(MAXIMUM_BYTES + 1), name)
    except OSError as error:
        message = f"the configuration file cannot be read: {error.strerror}"
        raise ConfigError([Problem("", message, Source.file(name))]) from error
    except NotADocument as error:
        raise ConfigError([error.problem]) from error
    root = document.root
    if root.value is not None and not isinstance(root.value, dict):
        message = "the file must hold sections and keys, like `storage: {root: /srv/moorage}`"
        raise ConfigError([Problem("", message, Source.file(name, root.line))])
    return document


def merge(
    tree: type[T],
    file: Document | None,
    environ: Mapping[str, str],
    flags: Overlay,
) -> Resolved[T]:
    """One tree from its sources, the later ones winning. Raises ConfigError with all problems."""
    found = [] if file is None else list(file.problems)
    all_leaves = list(leaves(tree))
    variables, unknown = read_environment(environ, all_leaves)
    found.extend(unknown)
    layers = _Layers(tree, file, {**variables, **flags})
    found.extend(
        read_secret_files(layers.data, [leaf for leaf in all_leaves if leaf.is_secret], layers.source)
    )
    sources = {leaf.name: layers.leaf_source(leaf) for leaf in all_leaves}
    try:
        config = tree.model_validate(layers.data)
    except ValidationError as error:
        known = [name for leaf in all_leaves for name in _names(leaf, layers.value(leaf.path))]
        secrets = frozenset(leaf.name for leaf in all_leaves if leaf.is_secret)
        found.extend(
            problems_of(error, source=layers.source, value=layers.value, known=known, secrets=secrets)
        )
        rest = _rest(tree, layers.data, error)
        raise ConfigError(found, None if rest is None else Resolved(rest, sources)) from None
    if found:
        raise ConfigError(found, Resolved(config, sources))
    return Resolved(config, sources)


def _rest(tree: type[T], data: Mapping[str, object], error: ValidationError) -> T | None:
    wrong = {one["loc"][0] for one in error.errors() if one["loc"]}
    try:
        return tree.model_validate({name: value for name, value in data.items() if name not in wrong})
    except ValidationError:
        return None  # a key that is required is the one that is wrong


def _names(leaf: Leaf, value: object) -> list[str]:
    """How a leaf is written; with its value what is written in each section of a list of them."""
    if leaf.section is not None and isinstance(value, list):
        inner = list(leaves(leaf.section))
        return [leaf.name, *(f"{leaf.name}[{at}].{one.name}" for at in range(len(value)) for one in inner)]
    return [leaf.name, ".".join(leaf.file_path)] if leaf.is_secret else [leaf.name]


class _Layers:
    """The file with variables and flags laid over it."""

    def __init__(self, tree: type[BaseModel], file: Document | None, overlay: Overlay) -> None:
        self._file = file
        self._overlay = overlay
        plain = file.root.plain() if file is not None else None
        self.data: dict[str, object] = plain if isinstance(plain, dict) else {}
        for path in _BESIDE_THE_FILE:
            self._put_beside(self.data, path)
        for section in sections(tree):
            # `uploads:` with nothing below it, all its keys being comments, sets nothing.
            if self.value(section) is None:
                self._put(section, {})
        for path, (value, _) in overlay.items():
            self._put(path, value)

    def _put_beside(self, section: object, path: Path) -> None:
        """Find what is named at a path from where the file lies; of a list of sections in each of them."""
        if isinstance(section, list):
            for one in section:
                self._put_beside(one, path)
        elif isinstance(section, dict) and len(path) > 1:
            self._put_beside(section.get(path[0]), path[1:])
        elif isinstance(section, dict) and self._file is not None:
            name, place, value = path[0], os.path.dirname(self._file.name), section.get(path[0])
            if isinstance(value, str) and value.strip():
                section[name] = os.path.join(place, value)
            elif isinstance(value, list):
                section[name] = [os.path.join(place, one) if isinstance(one, str) else one for one in value]

    def _put(self, path: Path, value: object) -> None:
        section = self.data
        for step in path[:-1]:
            if section.get(step) is None:
                section[step] = {}
            inner = section[step]
            if not isinstance(inner, dict):
                return  # a scalar where the file should have a section: that is the problem to report
            section = inner
        section[path[-1]] = value

    def value(self, location: Location) -> object:
        """What the layers hold at a location; None where there is nothing."""
        found: object = self.data
        for step in location:
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            elif not (isinstance(found, str) and step == 0):  # one text, where a list could be
                return None
        return found

    def source(self, location: Location) -> Source:
        """Where what is at a location comes from; of what is missing, where its section does."""
        for path, (_, source) in self._overlay.items():
            if location[: len(path)] == path:
                return source
        if self._file is not None and location and self._has(location[:1]):
            return Source.file(self._file.name, self._file.root.at(location).line)
        beside = (source for path, (_, source) in self._overlay.items() if path[:-1] == location[:-1])
        return next(beside, Source("default"))

    def _has(self, location: Location) -> bool:
        node = self._file.root if self._file is not None else None
        for step in location:
            inner = node.value if node is not None else None
            node = inner.get(str(step)) if isinstance(inner, dict) else None
        return node is not None

    def leaf_source(self, leaf: Leaf) -> Source:
        """Where the value of a leaf comes from."""
        for path in (leaf.path, leaf.file_path) if leaf.is_secret else (leaf.path,):
            if path in self._overlay or self._has(path):
                return self.source(path)
        return Source("default")
