"""Wheels of what is installed here: packed again from their own records, without a network."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from registry import __version__
from registry.errors import RequestInvalid

DIRECT = (
    "aiofiles",
    "aiohttp",
    "bcrypt",
    "cronsim",
    "cryptography",
    "httptools",
    "prometheus-client",
    "pydantic",
    "PyJWT",
    "PyYAML",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
)
"""What Moorage requires, as pyproject.toml says it; the rest follows."""

OPTIONAL = ("boto3", "python-ldap")
"""What it can make use of, where it is installed."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")
# Not of the wheel, but of how it was installed.
_LOCAL = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_METADATA = """\
Metadata-Version: 2.1
Name: moorage
Version: {version}
Summary: An OCI-compatible private registry whose storage backend is the whole registry
License: Apache-2.0
Requires-Python: >=3.11
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: moorage
Root-Is-Purelib: true
Tag: py3-none-any
"""
_ENTRY_POINTS = "[console_scripts]\nmoorage = registry.cli:main\n"


def installed() -> list[Distribution]:
    """What Moorage needs of what is installed, by name. Raises RequestInvalid where something is missing."""
    found: dict[str, Distribution] = {}
    pending = [*DIRECT, *(one for one in OPTIONAL if _find(one) is not None)]
    while pending:
        name = _normal(pending.pop())
        if name in found:
            continue
        one = _find(name)
        if one is None:
            if name in map(_normal, DIRECT):
                raise RequestInvalid(
                    f"{name}, which Moorage needs, is not installed by a package manager here"
                )
            continue  # for another platform or Python
        found[name] = one
        pending += [
            match[1]
            for text in one.requires or ()
            if "extra ==" not in text and (match := _REQUIREMENT.match(text)) is not None
        ]
    return [found[name] for name in sorted(found)]


def write_wheel(one: Distribution, folder: Path) -> Path:
    """Pack an installed distribution into a wheel again. Raises RequestInvalid for one that cannot be."""
    tags = [line.partition(": ")[2] for line in _read(one, "WHEEL") if line.startswith("Tag: ")]
    if not tags or one.files is None:
        raise RequestInvalid(f"{one.name} was not installed from a wheel, so none can be made of it")
    python, abi, platform = (
        sorted(set(parts)) for parts in zip(*(tag.split("-") for tag in tags), strict=True)
    )
    tag = "-".join(".".join(parts) for parts in (python, abi, platform))
    name = one.name.replace("-", "_").replace(".", "_")
    contents = [
        (str(file), Path(str(one.locate_file(file))).read_bytes())
        for file in one.files
        if ".." not in file.parts and "__pycache__" not in file.parts and file.name not in _LOCAL
    ]
    info = next(path.partition("/")[0] for path, _ in contents if ".dist-info/" in path)
    return _write(folder / f"{name}-{one.version}-{tag}.whl", info, contents)


def shared_files(share: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Files and folders of a folder, file by file, by their paths in it; never a key that lies among them."""
    for name in names:
        for path in [share / name] if (share / name).is_file() else sorted((share / name).rglob("*")):
            if path.is_file() and path.suffix != ".key":
                yield str(path.relative_to(share)), path


def write_own_wheel(packages: Path, folder: Path, share: Path, shared: Iterable[str]) -> Path:
    """Pack the packages `registry` and `storage` below a folder into a wheel of Moorage.

    With them goes what of `share` is `shared`, so that who installs the wheel can make a kit as well.
    """
    info = f"moorage-{__version__}.dist-info"
    contents = [
        (str(path.relative_to(packages)), path.read_bytes())
        for name in ("registry", "storage")
        for path in sorted((packages / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    data = f"moorage-{__version__}.data/data/share/moorage"
    contents += [(f"{data}/{path}", file.read_bytes()) for path, file in shared_files(share, shared)]
    requires = "".join(f"Requires-Dist: {one}\n" for one in DIRECT)
    contents += [
        (f"{info}/METADATA", (_METADATA.format(version=__version__) + requires).encode()),
        (f"{info}/WHEEL", _WHEEL.encode()),
        (f"{info}/entry_points.txt", _ENTRY_POINTS.encode()),
    ]
    return _write(folder / f"moorage-{__version__}-py3-none-any.whl", info, contents)


def _write(path: Path, info: str, contents: Iterable[tuple[str, bytes]]) -> Path:
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in sorted(contents):
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            opened.writestr(entry, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}\n")
        lines.append(f"{info}/RECORD,,\n")
        opened.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(lines))
    return path


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _read(one: Distribution, name: str) -> Iterator[str]:
    yield from (one.read_text(name) or "").splitlines()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
