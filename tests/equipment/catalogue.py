"""The catalogue of tools in `tools.toml`, and where on this machine each one's programs lie."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

CATALOGUE = Path(__file__).with_name("tools.toml")
LOCKS = Path(__file__).parents[2] / "requirements"

Kind = Literal["debian", "extra", "python", "go", "node", "root", "wheels"]
KINDS: tuple[Kind, ...] = ("debian", "extra", "python", "go", "node", "root", "wheels")


class Missing(Exception):
    """Something the tests need is not on this machine; `cure` is what to type to get it."""

    def __init__(self, what: str, reason: str, cure: str) -> None:
        super().__init__(f"missing {what}: {reason}; type: {cure}")
        self.what = what
        self.reason = reason
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Tool:
    """One entry of the catalogue; fields that its kind does not use are empty."""

    name: str
    kind: Kind
    version: str
    programs: tuple[str, ...]
    packages: tuple[str, ...] = ()
    module: str = ""
    requirement: str = ""
    suite: str = ""
    unless: str = ""
    soak: bool = False

    @property
    def folder(self) -> str:
        """Its folder in the cache: the name tells everything that decides what is inside."""
        pins = self.version
        if self.kind == "root":
            pins += "-" + hashlib.sha256(" ".join((self.suite, *self.packages)).encode()).hexdigest()[:8]
        if self.kind in ("python", "node", "wheels"):
            pins += "-" + hashlib.sha256(self.lock.read_bytes()).hexdigest()[:8]
        return f"{self.name}-{pins}"

    @property
    def lock(self) -> Path:
        """The hash-locked file that an environment is installed from, or that wheels are fetched for."""
        if self.kind == "extra":
            return LOCKS / f"{self.name}.txt"
        if self.kind == "wheels":
            return LOCKS / f"{self.requirement}.txt"
        return LOCKS / "tools" / f"{self.name}.{'json' if self.kind == 'node' else 'txt'}"

    @property
    def cure(self) -> str:
        """What a person types to get it."""
        if self.kind == "debian":
            return f"apt-get install {' '.join(self.packages)} (as root)"
        return f"{'sudo ' if self.kind == 'root' else ''}make tools ONLY={self.name}"


def load(path: Path = CATALOGUE) -> dict[str, Tool]:
    """Read the catalogue, in the order in which things are installed."""
    document = tomllib.loads(path.read_text())
    if strange := document.keys() - set(KINDS):
        raise ValueError(f"{path.name}: unknown kinds {sorted(strange)}, known are {', '.join(KINDS)}")
    tools: dict[str, Tool] = {}
    for kind in KINDS:
        for name, entry in document.get(kind, {}).items():
            tools[name] = Tool(
                name=name,
                kind=kind,
                version=entry.get("version", "as the release has it"),
                programs=tuple(entry.get("programs", [entry["program"]] if "program" in entry else [])),
                packages=tuple(entry.get("packages", ())),
                module=entry.get("module", ""),
                requirement=entry.get("requirement", ""),
                suite=entry.get("suite", ""),
                unless=entry.get("unless", ""),
                soak=entry.get("soak", False),
            )
    return tools


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that built tools are kept in, outside every checkout."""
    if chosen := environ.get("MOORAGE_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moorage"


def find_program(name: str) -> Path | None:
    """A program of the machine's own packages, which win over what somebody put into /usr/local."""
    places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", os.environ.get("PATH", ""), "/usr/local/go/bin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None


def folder(tool: Tool) -> Path:
    """The cache folder of a built tool, or `Missing`."""
    path = cache_root() / tool.folder
    if not path.is_dir():
        raise Missing(tool.name, f"{path} has not been built", tool.cure)
    return path


def distribution(tool: Tool) -> str:
    """The version of an extra that the environment of the tests has, as it is locked, or `Missing`."""
    wanted = locked(tool.lock, tool.requirement)
    try:
        found = metadata.version(tool.requirement)
    except metadata.PackageNotFoundError:
        found = "none"
    if found != wanted:
        reason = f"the environment has {found}, and {wanted} is wanted"
        raise Missing(tool.requirement, reason, tool.cure)
    return found


def locked(lock: Path, requirement: str) -> str:
    """The version of a distribution that a lock file names."""
    found = re.search(rf"^{re.escape(requirement)}==(\S+)", lock.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{lock.name} locks no {requirement}")
    return found[1]


def program(tool: Tool, name: str = "") -> Path:
    """One program of a tool that runs on the machine itself (its first unless named), or `Missing`."""
    name = name or tool.programs[0]
    if tool.kind != "debian":
        return folder(tool) / "bin" / name
    found = find_program(name)
    if found is None:
        raise Missing(tool.name, f"{name} is not on this machine", tool.cure)
    return found
