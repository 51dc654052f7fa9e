"""Which storage a person means who names a directory or a configuration file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from registry.config import Config, load
from registry.errors import Unsupported

_FILES = (".yaml", ".yml", ".json")


def settings_of(place: str, *, new: bool) -> Config:
    """The configuration of the storage at a place: a file's, or that of a directory, there already or `new`.

    The environment changes nothing of it, since it could only mean one of two.
    Raises ConfigError; Unsupported when there is no such place.
    """
    path = Path(place)
    if path.suffix in _FILES and not path.is_dir():
        if not path.is_file():
            raise Unsupported(f"there is no file {os.path.abspath(path)}")
        config = load(path, {}, {})
    else:
        config = load(None, {}, {"--root": place})
    if config.storage.driver != "local":
        return config
    root = config.storage.root
    if not root.is_dir() and not (new and root.absolute().parent.is_dir()):
        raise Unsupported(f"there is no directory {os.path.abspath(root)}")
    return config


def seal_of(config: Config) -> str | None:
    """What tells the key that seals the secrets of a storage from any other; None where none does.

    Raises Unfit for a file that holds no key.
    """
    path = config.access.seal_key_file
    if path is None:
        return None
    # Here, since it takes cryptography, which those do not need who know nobody.
    from registry.access.seal import read_seal

    read_seal(path)
    return hashlib.sha256(path.read_bytes().strip()).hexdigest()
