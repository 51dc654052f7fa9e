"""Bundles made by hand, of a few small images: sound ones, which tests then spoil."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry.bundles.contents import Content, Contents, Key, Piece
from registry.bundles.format import (
    CONTENTS,
    DESCRIBED,
    HEAD,
    INDEX,
    LAYOUT,
    README,
    SUMS,
    FileSum,
    Head,
    canonical,
)
from registry.bundles.keys import SigningKey
from registry.bundles.media import files, medium_folder
from registry.bundles.signatures import is_signature, signature_files
from registry.bundles.statement import Statement, digest_of, key_of
from registry.model import media_types
from registry.model.digests import Digest

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FIRST = "medium-001"

Files = dict[str, bytes]
"""The files of a bundle by name, those of media with the folder before."""


@dataclass(slots=True)
class Selection:
    """What a bundle is made of: a statement, and the bytes of what it states."""

    statement: Statement = field(default_factory=Statement)
    content: dict[Key, bytes] = field(default_factory=dict)

    def blob(self, data: bytes, *repositories: str, media_type: str = LAYER, sha512: bool = False) -> Any:
        """A blob; its descriptor."""
        return self._add(
            self.statement.blobs, data, repositories, media_type, "", "sha512" if sha512 else "sha256"
        )

    def image(self, text: str, *repositories: str, layers: Iterable[Any] = (), **fields: Any) -> Any:
        """An image with a config of its own, and with the layers that are given; its descriptor."""
        config = self.blob(f'{{"made":"{text}"}}'.encode(), *repositories, media_type=CONFIG)
        return self.manifest({"config": config, "layers": list(layers), **fields}, *repositories)

    def manifest(
        self, fields: Mapping[str, Any], *repositories: str, media_type: str = media_types.OCI_IMAGE
    ) -> Any:
        """A manifest; its descriptor."""
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode()
        return self._add(self.statement.manifests, data, repositories, media_type, media_type)

    def tag(self, name: str, tag: str, descriptor: Any) -> None:
        """Tag a manifest."""
        self.statement.tags[name, tag] = key_of(Digest.parse(descriptor["digest"]))

    def _add(
        self,
        kind: Contents,
        data: bytes,
        repositories: tuple[str, ...],
        media_type: str,
        stated_type: str,
        algorithm: str = "sha256",
    ) -> Any:
        digest = Digest.of(data, algorithm)
        key = key_of(digest)
        self.content[key] = data
        held = kind.get(key)
        names = tuple(sorted({*repositories, *(held.repositories if held is not None else ())}))
        kind[key] = Content(len(data), names, stated_type)
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def images() -> Selection:
    """Two repositories: images for two platforms with a layer that they share, and one with a signature."""
    made = Selection()
    both = ("team/app", "team/tool")
    shared = made.blob(bytes(range(256)) * 300, *both)
    large = made.blob(hashlib.sha256(b"large").digest() * 5000, "team/app", sha512=True)
    platforms = [
        made.image("amd64", "team/app", layers=[shared, large]),
        made.image("arm64", "team/app", layers=[shared]),
    ]
    fields = {"manifests": platforms}
    index = made.manifest(fields, "team/app", media_type=media_types.OCI_INDEX)
    tool = made.image("tool", "team/tool", layers=[shared])
    signature = made.image("signature", "team/tool", subject=tool)
    made.tag("team/app", "1.0", index)
    made.tag("team/app", "latest", index)
    made.tag("team/tool", "v2", tool)
    made.tag("team/tool", tool["digest"].replace(":", "-") + ".sig", signature)
    made.statement.order()
    return made


def lying(selection: Selection, piece_bytes: int | None = None, *, without: Iterable[Key] = ()) -> int:
    """Give everything its place, but what is there already; with a size a medium for each; how many media."""
    absent, medium = set(without), 1
    statement = selection.statement
    for key, content in statement.all:
        if key in absent or (key in statement.manifests and not content.media_type):
            continue
        kind = statement.manifests if content.media_type else statement.blobs
        if piece_bytes is None or content.size <= piece_bytes:
            kind.lay(key, (Piece(medium, content.size),))
            continue
        pieces, left = [], content.size
        while left:
            pieces.append(Piece(medium, min(left, piece_bytes)))
            left -= pieces[-1].size
            medium += 1 if left else 0
        kind.lay(key, tuple(pieces))
    return medium


def index(statement: Statement) -> bytes:
    """The `index.json` of a bundle."""
    entries = []
    for key, one in statement.manifests.items():
        names = [f"{name}:{tag}" for (name, tag), named in statement.tags.items() if named == key]
        entry = {"mediaType": one.media_type, "digest": str(digest_of(key)), "size": one.size}
        noted = [{"annotations": {"org.opencontainers.image.ref.name": name}} for name in names]
        entries += [{**entry, **note} for note in noted or [{}]] if one.carried else []
    return canonical({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries})


def head(statement: Statement, described: Mapping[str, bytes], media: int = 1, **fields: Any) -> Head:
    """The head of a bundle with these files."""
    sums = {name: FileSum(hashlib.sha256(data).hexdigest(), len(data)) for name, data in described.items()}
    made = {
        "stream": "weekly",
        "number": 1,
        "source": "registry.example.com",
        "selection": {"repositories": ["team/**"]},
        "totals": statement.totals,
        "media": media,
        "files": sums,
    }
    return Head(**{**made, **fields})


def files_of(
    selection: Selection,
    /,
    *keys: SigningKey,
    piece_bytes: int | None = None,
    without: Iterable[Key] = (),
    is_laid: bool = False,
    **fields: Any,
) -> Files:
    """The files of a sound bundle, signed by the keys; with `piece_bytes` in media, cut into such pieces.

    With `is_laid` everything has its place in one medium already.
    """
    media = 1 if is_laid else lying(selection, piece_bytes, without=without)
    statement = selection.statement
    described = {
        README: b"A bundle.\n",
        LAYOUT: canonical({"imageLayoutVersion": "1.0.0"}),
        CONTENTS: b"".join(statement.lines()),
        INDEX: index(statement),
    }
    assert set(described) == set(DESCRIBED)
    about = head(statement, described, media, **fields).encode()
    everywhere = {HEAD: about, README: described.pop(README)}
    for key in keys:
        everywhere.update(signature_files(key.public, key.sign(about), about))
    made: Files = {}
    for number in range(1, media + 1):
        folder = "" if piece_bytes is None else f"{medium_folder(number)}/"
        made.update({folder + name: data for name, data in everywhere.items()})
        if number == 1:
            made.update({folder + name: data for name, data in described.items()})
        starts: dict[Key, int] = {}
        for one in files(statement):
            start = starts.get(one.key, 0)
            starts[one.key] = start + one.size
            if one.medium == number:
                made[folder + one.name] = selection.content[one.key][start : start + one.size]
    return summed(made)


def summed(made: Files) -> Files:
    """The files with a `SHA256SUMS` of each folder."""
    made = {name: data for name, data in made.items() if not name.endswith(SUMS)}
    folders = {one.rpartition("/")[0] for one in made if one.endswith(HEAD)}
    for folder in folders:
        before = f"{folder}/" if folder else ""
        inside = {name.removeprefix(before): data for name, data in made.items() if name.startswith(before)}
        lines = [
            f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            for name, data in sorted(inside.items())
            if not is_signature(name)
        ]
        made[before + SUMS] = "".join(lines).encode()
    return made


def resealed(made: Files, *keys: SigningKey, **fields: Any) -> Files:
    """The files after somebody altered some: with a head that fits again, and signed by these keys."""
    before = next(name for name in made if name.endswith(HEAD)).removesuffix(HEAD)
    told = Head.decode(made[before + HEAD])
    sums = {
        name: FileSum(hashlib.sha256(data).hexdigest(), len(data))
        for name in DESCRIBED
        if (data := made.get(before + name)) is not None
    }
    about = replace(told, files=sums, **fields).encode()
    unsigned = {name: data for name, data in made.items() if not is_signature(name.removeprefix(before))}
    signatures: Files = {}
    for key in keys:
        signatures.update(signature_files(key.public, key.sign(about), about))
    return summed(
        {**unsigned, before + HEAD: about, **{before + name: one for name, one in signatures.items()}}
    )


def flipped(content: bytes) -> bytes:
    """One bit of it the other way, in the middle."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def write_folder(made: Files, folder: Path) -> Path:
    """Write the files into a folder."""
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def order(made: Files) -> list[str]:
    """The names in the order in which they stand in a tar; those that no bundle has, behind the blobs."""
    first, last = [HEAD, "", README, LAYOUT, INDEX, CONTENTS], [SUMS]
    steps = [*first, "blobs", *last]
    ranks = {
        name: steps.index("" if is_signature(name) else name if name in steps else "blobs") for name in made
    }
    return sorted(made, key=lambda name: (ranks[name], name if is_signature(name) else ""))


Member = tuple[tarfile.TarInfo, bytes]


def members(made: Files) -> list[Member]:
    """The files as a tar has them."""
    listed = []
    for name in order(made):
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(made[name]), 0o644
        listed.append((info, made[name]))
    return listed


def tar(listed: Iterable[Member], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=kind) as opened:
        for info, data in listed:
            opened.addfile(info, io.BytesIO(data))
    return written.getvalue()
