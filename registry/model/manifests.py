"""Manifests: bytes first, with a view of what they say (image-spec: Image Manifest, Image Index)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import ManifestInvalid
from registry.model import media_types
from registry.model.descriptors import Descriptor, read_annotations, read_media_type
from registry.model.digests import Digest
from registry.model.documents import Fields, read_document, read_leniently
from registry.model.quoting import quoted

__all__ = ["Descriptor", "Manifest", "check_content_type", "sniff_media_type"]

_FIELDS = Fields(
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
)
_UNTOLD = frozenset({"", media_types.JSON, media_types.OCTETS})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was pushed: `content` to the byte, and what it says.

    `artifact_type` is the declared one. `served_by_distribution` is True when CNCF Distribution v3 would read
    these bytes and answer them with this very `media_type`; `says_type` that they say it themselves.
    """

    content: bytes
    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str] | None
    served_by_distribution: bool
    says_type: bool

    @classmethod
    def parse(cls, content: bytes, content_type: str | None, *, max_references: int = 10_000) -> Manifest:
        """The manifest of a push, read strictly.

        Lists may be empty, null or, `manifests` of an index aside, missing: clients do push all of these.
        A manifest never has the fields of another kind: readers would disagree on what it is.

        Raises ManifestInvalid, which names the place.
        """
        document = read_document(content)
        _FIELDS.check(document, "$")
        media_type = _pushed_type(document, content_type)
        _check_version(document, media_type)
        _check_kind(document, media_type)
        is_artifact = media_type in media_types.ARTIFACTS
        _check_count(document, ("blobs",) if is_artifact else ("layers", "manifests"), max_references)
        return cls(
            content=content,
            media_type=media_type,
            config=_read_optional(document, "config"),
            layers=_read_list(document, "layers"),
            manifests=_read_list(document, "manifests"),
            blobs=_read_list(document, "blobs") if is_artifact else (),
            subject=_read_optional(document, "subject"),
            artifact_type=_read_artifact_type(document),
            annotations=read_annotations(document, "$"),
            served_by_distribution=_is_served_by_distribution(document, media_type),
            says_type=document.get("mediaType") is not None,
        )

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests."""
        return self.media_type in media_types.INDEXES

    @property
    def required_blobs(self) -> tuple[Descriptor, ...]:
        """What must be a blob of the repository for a pull to be complete: config, layers, blobs.

        Layers that are not distributable may lie elsewhere. A digest of an algorithm that is not supported
        stands here too: such content cannot be held, so it is always missing.
        """
        return tuple(one for one in self._blobs if not media_types.is_nondistributable(one.media_type))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What an index lists; each may be absent, a manifest, or (as buildkit's caches have it) a blob."""
        return self.manifests

    @property
    def references(self) -> tuple[Descriptor, ...]:
        """Everything that lives as long as this manifest: config, layers, blobs, children; not the subject.

        Digests of algorithms that are not supported are left out: no such content can lie here.
        """
        return tuple(one for one in (*self._blobs, *self.manifests) if one.digest.supported)

    @property
    def referrer_artifact_type(self) -> str | None:
        """The artifactType in a list of referrers (dist-spec: Listing Referrers)."""
        if self.artifact_type is not None:
            return self.artifact_type
        return self.config.media_type if self.config is not None else None

    def referrer_descriptor(self, digest: Digest) -> dict[str, Any]:
        """The entry of this manifest, which has `digest`, in the list of its subject's referrers."""
        descriptor: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(digest),
            "size": len(self.content),
        }
        if self.referrer_artifact_type is not None:
            descriptor["artifactType"] = self.referrer_artifact_type
        if self.annotations:
            descriptor["annotations"] = dict(self.annotations)
        return descriptor

    @property
    def _blobs(self) -> tuple[Descriptor, ...]:
        config = () if self.config is None else (self.config,)
        return (*config, *self.layers, *self.blobs)


def check_content_type(content_type: str | None) -> None:
    """Judge what a push says of its type before the manifest is there.

    Raises ManifestInvalid for a type that no manifest may have, whatever it says itself.
    """
    told = media_types.strip_parameters(content_type or "")
    if told not in _UNTOLD:
        _require_manifest_type(told)


def sniff_media_type(content: bytes) -> str:
    """The media type of a manifest found in a store that says no more, as Distribution would answer it.

    It reads names of fields in any case and takes the last of several. Never raises: what is not even a JSON
    object is answered as octets.
    """
    fields = {name.casefold(): value for name, value in read_leniently(content)}
    if not fields:
        return media_types.OCTETS
    told = fields.get("mediatype")
    # Only applications: what lies in a store must not become a page in somebody's browser.
    if isinstance(told, str) and media_types.is_media_type(told) and told.startswith("application/"):
        return told
    if fields.get("schemaversion") == "1":
        is_signed = "signatures" in fields
        return media_types.DOCKER_SCHEMA1_SIGNED if is_signed else media_types.DOCKER_SCHEMA1
    return media_types.OCI_INDEX if fields.get("manifests") is not None else media_types.OCI_IMAGE


def _pushed_type(document: Mapping[str, Any], content_type: str | None) -> str:
    """The media type that Content-Type, the body, or else the body's fields say."""
    told = media_types.strip_parameters(content_type or "")
    own = read_media_type(document, "mediaType", "$")
    if told in _UNTOLD:
        media_type = own or _type_of_fields(document)
    elif own is not None and own != told:
        raise ManifestInvalid(
            f"the Content-Type is {quoted(told)} and the manifest's mediaType {quoted(own)}"
        )
    else:
        media_type = told
    _require_manifest_type(media_type)
    return media_type


def _require_manifest_type(media_type: str) -> None:
    if media_type in media_types.SCHEMA1:
        raise _schema1()
    if media_type not in media_types.MANIFESTS:
        raise ManifestInvalid(
            f"{quoted(media_type)} is not the media type of a manifest; accepted are"
            f" {', '.join(sorted(media_types.MANIFESTS))}"
        )


def _type_of_fields(document: Mapping[str, Any]) -> str:
    if document.get("manifests") is not None:
        return media_types.OCI_INDEX
    if document.get("config") is not None:
        return media_types.OCI_IMAGE
    if _is_schema1(document):
        raise _schema1()
    raise ManifestInvalid(
        "neither the Content-Type nor $.mediaType nor the fields config or manifests tell what this is"
    )


def _is_schema1(document: Mapping[str, Any]) -> bool:
    version = document.get("schemaVersion")
    return type(version) is int and version == 1


def _schema1() -> ManifestInvalid:
    return ManifestInvalid("Docker's manifest schema 1 is not accepted; push the image as schema 2 or as OCI")


def _check_version(document: Mapping[str, Any], media_type: str) -> None:
    if media_type in media_types.ARTIFACTS:
        return  # their drafts have none, or one of their own
    if _is_schema1(document):
        raise _schema1()
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise ManifestInvalid("$.schemaVersion must be the number 2")


def _check_kind(document: Mapping[str, Any], media_type: str) -> None:
    """Refuse the fields of another kind of manifest, and a kind without its own."""
    is_index, is_image = media_type in media_types.INDEXES, media_type in media_types.IMAGES
    own = {"manifests"} if is_index else {"config", "layers"} if is_image else {"blobs"}
    for name in ("config", "layers", "manifests"):
        if name not in own and document.get(name) is not None:
            raise ManifestInvalid(f"a manifest of the type {media_type} must not have $.{name}")
    if is_index and "manifests" not in document:
        raise ManifestInvalid("$.manifests, a list of descriptors, is required in an index")
    if is_image and document.get("config") is None:
        raise ManifestInvalid("$.config, a descriptor, is required in an image manifest")
    if not is_index and not is_image and document.get("mediaType") is None:
        raise ManifestInvalid("$.mediaType is required in an artifact manifest")


def _check_count(document: Mapping[str, Any], names: tuple[str, ...], most: int) -> None:
    count = sum(len(value) for name in names if isinstance(value := document.get(name), list))
    if count > most:
        raise ManifestInvalid(f"the manifest refers to {count} others; this registry takes at most {most}")


def _read_list(document: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ManifestInvalid(f"$.{name} must be a list of descriptors")
    return tuple([Descriptor.read(value, f"$.{name}[{index}]") for index, value in enumerate(values)])


def _read_optional(document: Mapping[str, Any], name: str) -> Descriptor | None:
    value = document.get(name)
    return None if value is None else Descriptor.read(value, f"$.{name}")


def _read_artifact_type(document: Mapping[str, Any]) -> str | None:
    if document.get("artifactType") == "":
        return None
    return read_media_type(document, "artifactType", "$")


def _is_served_by_distribution(document: Mapping[str, Any], media_type: str) -> bool:
    """Whether Distribution derives the same type from the body; it has no other place to keep it."""
    if media_type in media_types.ARTIFACTS:
        return False
    if document.get("mediaType") is not None:
        return True
    if media_type == media_types.OCI_INDEX:
        return document["manifests"] is not None
    return media_type == media_types.OCI_IMAGE
