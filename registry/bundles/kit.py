"""The kit for the first day: all that a bare machine behind the gap needs to run a registry."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from registry import __version__
from registry.bundles.docker_archive import write_image
from registry.bundles.sources import Source
from registry.bundles.wheels import installed, shared_files, write_own_wheel, write_wheel
from registry.errors import RequestInvalid
from registry.model.names import RepositoryName, Tag
from registry.store.effects import Effects

SHARED = ("docs", "deploy", "ARCHITECTURE.md", "CHANGELOG.md", "config.example.yaml", "LICENSE")
"""What people read and copy from, beside the packages or where wheels put it."""

_PACKAGES = Path(__file__).parents[2]

_INSTALL = """\
#!/bin/sh
# Installs Moorage from this folder, without a network: sh install.sh [DIRECTORY] (/opt/moorage).
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
where=${{1:-/opt/moorage}}
python=${{PYTHON:-python3}}
(cd "$here" && sha256sum --check --quiet SHA256SUMS)
"$python" -m venv "$where/.venv"
"$where/.venv/bin/python" -m pip install --quiet --no-index "$here"/wheels/*.whl
for one in {shared}; do cp -R "$here/$one" "$where/"; done
echo "installed; begin with: $where/.venv/bin/moorage init DIRECTORY --url http://HOST:5000"
"""
_README = """\
Moorage {version}: everything for a registry where there is no internet.

  sh install.sh [DIRECTORY]   on a Linux with {python} and its venv module ({platform})
  docker load -i image.tar    instead, where there is docker{image}

docs/running.md goes on from there, and docs/bundles.md says how images come here. config.example.yaml has all
settings, and deploy/ the unit for systemd, compose files, and configurations of proxies.
verify_bundle.py checks bundles where nothing is installed.
sbom.cdx.json lists what is in here, SHA256SUMS what it must be: sha256sum -c SHA256SUMS
"""


async def write_kit(
    path: Path, source: Source, image: tuple[RepositoryName, Tag] | None, effects: Effects
) -> AsyncIterator[str]:
    """Write the kit into a new folder; the name of each part that is done.

    `image` is what `docker load` is to get, of `source`. Raises RequestInvalid.
    """
    if path.exists():
        raise RequestInvalid(f"{path} is there already; name another place, or remove it")
    partial = path.with_name(f".{path.name}.partial")
    try:
        await effects.aside(_begin, partial)
        packages = _PACKAGES
        share = await effects.aside(shared)
        yield (await effects.aside(write_own_wheel, packages, partial / "wheels", share, SHARED)).name
        needed = await effects.aside(installed)
        for one in needed:
            yield (await effects.aside(write_wheel, one, partial / "wheels")).name
        await effects.aside(_texts, partial, share, needed, has_image=image is not None)
        yield "docs"
        if image is not None:
            await write_image(partial / "image.tar", source, *image, effects)
            yield "image.tar"
        await effects.aside(_end, partial, path)
        yield "SHA256SUMS"
    except OSError as error:
        raise RequestInvalid(f"the kit cannot be written to {path}: {error.strerror or error}") from None
    finally:
        await effects.aside(shutil.rmtree, partial, ignore_errors=True)


def shared() -> Path:
    """Where the documentation and what it links to lie: beside the packages, or where wheels put them.

    Raises RequestInvalid.
    """
    for one in (_PACKAGES, Path(sys.prefix) / "share/moorage"):
        if (one / "docs/bundles.md").is_file():
            return one
    raise RequestInvalid("the documentation of this installation is not there, so no kit can be made of it")


def _begin(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "wheels").mkdir(parents=True)


def _texts(partial: Path, share: Path, needed: list[Distribution], *, has_image: bool) -> None:
    for path, file in shared_files(share, SHARED):
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, partial / path)
    shutil.copyfile(Path(__file__).with_name("verify_bundle.py"), partial / "verify_bundle.py")
    (partial / "install.sh").write_text(_INSTALL.format(shared=" ".join(SHARED)))
    (partial / "install.sh").chmod(0o755)
    (partial / "README.txt").write_text(
        _README.format(
            version=__version__,
            python=f"Python {sys.version_info.major}.{sys.version_info.minor}",
            platform=sysconfig.get_platform(),
            image="" if has_image else " (this kit has no image)",
        )
    )
    (partial / "sbom.cdx.json").write_text(json.dumps(_sbom(needed), indent=1, sort_keys=True) + "\n")


def _sbom(needed: list[Distribution]) -> dict[str, Any]:
    """What the wheels are (CycloneDX 1.5)."""
    parts = [("moorage", __version__), *((one.name.lower(), one.version) for one in needed)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name.replace('_', '-')}@{version}",
            }
            for name, version in parts
        ],
    }


def _end(partial: Path, path: Path) -> None:
    lines = []
    for file in sorted(one for one in partial.rglob("*") if one.is_file()):
        hasher = hashlib.sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                hasher.update(chunk)
        lines.append(f"{hasher.hexdigest()}  {file.relative_to(partial)}\n")
    (partial / "SHA256SUMS").write_text("".join(lines))
    partial.rename(path)
