"""Settings from `MOORAGE_…` variables: `storage.root` is `MOORAGE_STORAGE_ROOT`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from registry.config.tree import Leaf, Path
from registry.settings import Problem, Source, nearest

PREFIX = "MOORAGE_"
# Names the file itself, so it cannot stand in it.
CONFIG_VARIABLE = "MOORAGE_CONFIG"
# Who somebody is that asks a server: for the command line, and no setting of a server's.
_OF_THE_COMMAND_LINE = frozenset({CONFIG_VARIABLE, "MOORAGE_USERNAME", "MOORAGE_PASSWORD"})

# What Kubernetes puts into every container of a namespace that has a service called moorage.
_SERVICE_NAME = re.compile(
    r"MOORAGE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)\w*)"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://.*")

Overlay = dict[Path, tuple[object, Source]]


def variable(path: Path) -> str:
    """The variable that sets what is at `path`."""
    return PREFIX + "_".join(path).upper()


def read_environment(environ: Mapping[str, str], leaves: Iterable[Leaf]) -> tuple[Overlay, list[Problem]]:
    """The settings in the environment, and the variables that look like ours and set nothing."""
    known: dict[str, tuple[Path, bool]] = {}
    unsettable = {}
    for leaf in leaves:
        if leaf.section is not None:
            unsettable[variable(leaf.path)] = leaf.name
            continue
        known[variable(leaf.path)] = leaf.path, leaf.is_list
        if leaf.is_secret:
            known[variable(leaf.file_path)] = leaf.file_path, False
    overlay: Overlay = {}
    problems = []
    for name in sorted(environ):
        if name in known:
            path, is_list = known[name]
            # Compose files turn a variable that is not set into an empty one.
            if not (text := environ[name]):
                continue
            overlay[path] = _value(text, is_list=is_list), Source("environment", name)
        elif name in unsettable:
            if environ[name]:
                message = f"{unsettable[name]} is a list of sections, and can be written in the file only"
                problems.append(Problem(name, message, Source("environment")))
        elif (
            name.startswith(PREFIX)
            and name not in _OF_THE_COMMAND_LINE
            and not _is_of_a_service(name, environ[name])
        ):
            words = {one.removeprefix(PREFIX): one for one in known}
            word = nearest(name.removeprefix(PREFIX), words)
            near = None if word is None else words[word]
            problems.append(Problem(name, "no setting has this variable", Source("environment"), None, near))
    return overlay, problems


def _value(text: str, *, is_list: bool) -> object:
    if is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _is_of_a_service(name: str, value: str) -> bool:
    return _SERVICE_NAME.fullmatch(name) is not None or (
        name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value) is not None
    )
