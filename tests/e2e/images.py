"""Small images made at run time: busybox and random bytes, as an OCI layout or as a docker archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Docker's own types, by those of OCI that came after them.
DOCKER = {
    IMAGE: "application/vnd.docker.distribution.manifest.v2+json",
    INDEX: "application/vnd.docker.distribution.manifest.list.v2+json",
    CONFIG: "application/vnd.docker.container.image.v1+json",
    LAYER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
RANDOM_FILE = "/data/random.bin"


def digest_of(data: bytes) -> str:
    """The sha256 digest of some bytes, as the protocol writes it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value: Mapping[str, Any]) -> bytes:
    """A JSON document as this module writes all of its own."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with the media type that a descriptor gives them."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """The descriptor that points to this content."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform; when it runs, it prints the sha256 of its random file."""

    manifest: Content
    config: Content
    layers: tuple[Content, ...]
    plain_layers: tuple[bytes, ...]
    architecture: str
    random_sha256: str

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def contents(self) -> tuple[Content, ...]:
        """Everything it consists of, the manifest last."""
        return (*self.layers, self.config, self.manifest)

    @property
    def platform(self) -> dict[str, str]:
        return {"architecture": self.architecture, "os": "linux"}


@dataclass(frozen=True, slots=True)
class Index:
    """One image for several platforms."""

    manifest: Content
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def contents(self) -> tuple[Content, ...]:
        """Everything it consists of, the index last."""
        return (*(content for image in self.images for content in image.contents), self.manifest)


class NewImage(Protocol):
    """Makes images that no registry has seen."""

    def __call__(self, *, random_bytes: int = 1 << 20, architecture: str = "amd64") -> Image: ...


def image(busybox: Path, *, random_bytes: int = 1 << 20, architecture: str = "amd64") -> Image:
    """Make an image that no registry has seen: its second layer is random."""
    random = os.urandom(random_bytes)
    plain = (
        layer({"bin/busybox": busybox.read_bytes(), "bin/sh": busybox.read_bytes()}),
        layer({RANDOM_FILE.lstrip("/"): random}),
    )
    layers = tuple(Content(LAYER, gzip.compress(data, 1, mtime=0)) for data in plain)
    config = Content(
        CONFIG,
        document(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {
                    "Entrypoint": ["/bin/busybox"],
                    "Cmd": ["sha256sum", RANDOM_FILE],
                    "Env": ["PATH=/bin"],
                },
                "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in plain]},
            }
        ),
    )
    manifest = Content(
        IMAGE,
        document(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": config.descriptor(),
                "layers": [layer.descriptor() for layer in layers],
            }
        ),
    )
    return Image(manifest, config, layers, plain, architecture, hashlib.sha256(random).hexdigest())


def docker_image(image: Image) -> Image:
    """The same image under Docker's own types."""
    layers = tuple(replace(layer, media_type=DOCKER[LAYER]) for layer in image.layers)
    config = replace(image.config, media_type=DOCKER[CONFIG])
    fields = {
        "schemaVersion": 2,
        "mediaType": DOCKER[IMAGE],
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    return replace(image, manifest=Content(DOCKER[IMAGE], document(fields)), config=config, layers=layers)


def index(*images: Image, media_type: str = INDEX) -> Index:
    """Bind images for several platforms into one."""
    manifests = [image.manifest.descriptor(platform=image.platform) for image in images]
    fields = {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}
    return Index(Content(media_type, document(fields)), images)


def layer(files: Mapping[str, bytes]) -> bytes:
    """A layer: a tar of executable files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def write_layout(top: Image | Index, folder: Path, tag: str = "1") -> Path:
    """Write an OCI image layout in which `tag` names the image."""
    for content in top.contents:
        algorithm, _, encoded = content.digest.partition(":")
        blob = folder / "blobs" / algorithm / encoded
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content.data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = top.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": tag})
    (folder / "index.json").write_bytes(document({"schemaVersion": 2, "manifests": [named]}))
    return folder


def write_archive(image: Image, path: Path, reference: str) -> Path:
    """Write what `docker save` would for an image of that name; docker, podman, ctr and crane load it."""
    names = [f"layer{number}.tar" for number in range(len(image.plain_layers))]
    config = image.config.digest.removeprefix("sha256:") + ".json"
    entry = {"Config": config, "RepoTags": [reference], "Layers": names}
    files = {config: image.config.data, **dict(zip(names, image.plain_layers, strict=True))}
    path.write_bytes(layer({**files, "manifest.json": json.dumps([entry]).encode()}))
    return path
