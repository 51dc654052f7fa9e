"""One image as a tar that every `docker load` takes."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from collections.abc import Iterable
from pathlib import Path

from registry.bundles.sources import Source
from registry.errors import RequestInvalid, StorageDamaged
from registry.model.digests import DigestCheck
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import RepositoryName, Tag
from registry.store.effects import Effects

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


async def write_image(path: Path, source: Source, name: RepositoryName, tag: Tag, effects: Effects) -> None:
    """Write the image of a tag, of an index the one for this machine. Raises RequestInvalid."""
    manifest = await _image(source, name, tag)
    config = manifest.config
    if config is None or not manifest.layers:
        raise RequestInvalid(f"{name}:{tag} is no image that docker could load")
    layers = [f"{one.digest.encoded}.tar" for one in manifest.layers]
    listed = [{"Config": f"{config.digest.encoded}.json", "RepoTags": [f"{name}:{tag}"], "Layers": layers}]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as opened:
        entries = [(f"{config.digest.encoded}.json", config), *zip(layers, manifest.layers, strict=True)]
        for file, descriptor in entries:
            await _add(opened, file, source, name, descriptor, effects)
        content = json.dumps(listed).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        opened.addfile(entry, io.BytesIO(content))


async def _image(source: Source, name: RepositoryName, tag: Tag) -> Manifest:
    digest = await source.target(name, tag)
    stored = None if digest is None else await source.manifest(name, digest)
    if stored is None:
        raise RequestInvalid(f"there is no {name}:{tag}")
    manifest = stored.parse()
    if not manifest.is_index:
        return manifest
    machine = _MACHINES.get(platform.machine(), platform.machine())
    for child in manifest.children:
        if (child.platform or {}).get("architecture") == machine:
            stored = await source.manifest(name, child.digest)
            if stored is not None:
                return stored.parse()
    raise RequestInvalid(f"{name}:{tag} has no image for {machine}")


async def _add(
    opened: tarfile.TarFile,
    file: str,
    source: Source,
    name: RepositoryName,
    descriptor: Descriptor,
    effects: Effects,
) -> None:
    entry = tarfile.TarInfo(file)
    entry.size, entry.mode = descriptor.size_bytes, 0o644
    opened.addfile(entry, None if descriptor.size_bytes else io.BytesIO())
    check = DigestCheck(descriptor.digest)

    def take(portion: Iterable[bytes]) -> None:
        for piece in portion:
            check.update(piece)
            _write(opened, piece)

    async with source.blob(name, descriptor.digest) as portions:
        async for portion in portions:
            await effects.aside(take, portion)
    check.finish()
    if check.size_bytes != descriptor.size_bytes:
        raise StorageDamaged(f"the blob {descriptor.digest} of {name} has {check.size_bytes} bytes")
    await effects.aside(_write, opened, bytes(-check.size_bytes % tarfile.BLOCKSIZE))


def _write(opened: tarfile.TarFile, piece: bytes) -> None:
    assert opened.fileobj is not None
    opened.fileobj.write(piece)
    opened.offset += len(piece)
