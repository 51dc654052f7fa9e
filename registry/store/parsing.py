"""What the keys of a store say, parsed here and nowhere else; they are built in `layout.py`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from registry.errors import DigestInvalid, NameInvalid, TagInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store.layout import (
    BLOBS,
    BLOCKED,
    CATALOG,
    MIRRORED,
    ORIGINS,
    PINS,
    QUARANTINE,
    REFERRERS,
    REPOSITORIES,
    SECRET,
    TRANSFERS,
    TRASH_DATA,
    TRASH_LINKS,
    WHOLE_MANIFESTS,
    blob_data,
)

Kind = Literal["layer", "revision", "other", "stray"]

# Data, trash copies of data, and whole manifests (behind a line with their type).
_ADDRESSED = (
    re.compile(rf"{BLOBS}/([^/]+)/[^/]+/([^/]+)/data"),
    re.compile(rf"{TRASH_DATA}/([^/]+)/([^/]+)/[^/]+"),
    re.compile(rf"{WHOLE_MANIFESTS}/.+/_/([^/]+)/([^/]+)"),
)

# All that has the bytes of content, or makes a repository have it; what refers to it has not.
_CONTENT = re.compile(
    rf"(?:{BLOBS}|{TRASH_DATA}|{QUARANTINE}|{REPOSITORIES}/.+/(?:_layers|_manifests/revisions)"
    rf"|(?:{WHOLE_MANIFESTS}|{TRANSFERS})/.+/_|{TRASH_LINKS}/.+/_/(?:layers|revisions|manifests))"
    r"/([^/]+)/(?:[^/]{2}/)?([^/]+)(?:/[^/]+)?"
)

_TRASHED_LINK = re.compile(rf"{TRASH_LINKS}/(.+)/_/(layers|revisions|manifests)/([^/]+)/([^/]+)/([^/]+)")
_MIRRORED = re.compile(rf"{MIRRORED}/(.+)/_/([^/]+)/([^/]+)")
_ORIGIN = re.compile(rf"{ORIGINS}/(.+)/_/(elsewhere|here)/([^/]+)/([^/]+)")
_PIN = re.compile(rf"{PINS}/(.+)/_/(?:repository|tags/([^/]+)|manifests/([^/]+)/([^/]+))")
_UNESCAPE = str.maketrans("0ABCDEFGHIJ", "/0123456789")


def digest_of(key: str) -> Digest | None:
    """The digest that the bytes under a key must have; None where the key names none."""
    return _digest(next(filter(None, (pattern.fullmatch(key) for pattern in _ADDRESSED)), None))


def content_of(key: str) -> Digest | None:
    """The digest of the content of which the key holds bytes, a description or a link; None for others."""
    if key.startswith(f"{REFERRERS}/"):
        return referrer_digest(key)
    return _digest(_CONTENT.fullmatch(key))


def blob_of(key: str) -> Digest | None:
    """The digest of the data that lies under `key`; None when it is a stray object."""
    digest = _digest(_ADDRESSED[0].fullmatch(key))
    return digest if digest is not None and digest.supported and key == blob_data(digest) else None


def is_whole_manifest(key: str) -> bool:
    """Whether a manifest that Distribution would refuse lies under the key."""
    return key.startswith(f"{WHOLE_MANIFESTS}/")


def in_repository(key: str) -> tuple[str, str]:
    """The repository that a link or a whole manifest belongs to, and the key's place in it.

    The name is as it stands there, valid or not; a stray key that is in no repository has no place.
    """
    path = key.removeprefix(f"{REPOSITORIES}/").removeprefix(f"{WHOLE_MANIFESTS}/")
    name, own, place = path.partition("/_")
    return (name, f"_{place}") if own else (path, "")


def linked_at(place: str) -> tuple[Kind, Digest | None]:
    """What a place in a repository of Distribution's tree is for; of a link also what it is called after."""
    match place.split("/"):
        case ["_layers", algorithm, encoded, "link"]:
            kind: Kind = "layer"
        case ["_manifests", "revisions", algorithm, encoded, "link"]:
            kind = "revision"
        case ["_layers", "_placeholder"] | ["_uploads", *_] | ["_manifests", "tags", *_]:
            return "other", None
        case _:
            return "stray", None
    digest = _parsed(f"{algorithm}:{encoded}")
    return (kind, digest) if digest is not None and digest.supported else ("stray", None)


def is_link(key: str) -> bool:
    """Whether a link lies under the key, of whichever kind."""
    return key.endswith("/link")


def is_session_of_distribution(key: str) -> bool:
    """Whether what lies under the key is of an upload to Distribution."""
    return in_repository(key)[1].startswith("_uploads/")


def layer_of(key: str) -> Digest | None:
    """The digest of the blob whose link lies under `key`; None when it is no blob link."""
    kind, digest = linked_at(in_repository(key)[1])
    return digest if kind == "layer" else None


def manifest_of(key: str) -> Digest | None:
    """The digest of the manifest that a repository has by what lies under `key`; None when it is no such."""
    kind, digest = linked_at(in_repository(key)[1])
    return digest if kind == "revision" else digest_of(key) if is_whole_manifest(key) else None


def tag_of(key: str) -> Tag | None:
    """The tag whose link lies under `key`; None when it is none."""
    match = re.fullmatch(rf"{REPOSITORIES}/.+/_manifests/tags/([^/]+)/current/link", key)
    return Tag(match[1]) if match else None


def catalog_name(key: str) -> RepositoryName | None:
    """The repository that a catalog key stands for; None for a stray object."""
    try:
        return RepositoryName(key.removeprefix(f"{CATALOG}/").translate(_UNESCAPE))
    except NameInvalid:
        return None


def referrer_digest(entry: str) -> Digest | None:
    """The digest in the last segment of a referrer's key; None for a stray object."""
    return _parsed(entry.rpartition("/")[2].replace("-", ":", 1))


def trashed_data(key: str) -> tuple[Digest, str] | None:
    """Whose bytes a trash copy of data has, and the run that took them; None for a stray object."""
    digest = _digest(_ADDRESSED[1].fullmatch(key))
    return (digest, key.rpartition("/")[2]) if digest is not None and digest.supported else None


class TrashedLink(NamedTuple):
    """What a repository had by what lies in the trash: a `blob` or a `manifest`, and the run that took it."""

    repository: str
    kind: Literal["blob", "manifest"]
    digest: Digest
    run: str
    is_whole: bool


def trashed_link(key: str) -> TrashedLink | None:
    """What a trash copy of a link, or of a whole manifest, was; None for a tag or a stray object."""
    match = _TRASHED_LINK.fullmatch(key)
    digest = None if match is None else _parsed(f"{match[3]}:{match[4]}")
    if match is None or digest is None or not digest.supported:
        return None
    kind: Literal["blob", "manifest"] = "blob" if match[2] == "layers" else "manifest"
    return TrashedLink(match[1], kind, digest, match[5], match[2] == "manifests")


def mirrored_of(key: str) -> tuple[RepositoryName, Digest] | None:
    """The namespace and the blob of a mark that it came from elsewhere; None for a stray object."""
    match = _MIRRORED.fullmatch(key)
    digest = None if match is None else _parsed(f"{match[2]}:{match[3]}")
    return None if match is None or digest is None else _named(match[1], digest)


def origin_of(key: str) -> tuple[RepositoryName, str, Digest] | None:
    """The repository, the place and the manifest of a mark of where it came from; None for a stray object."""
    match = _ORIGIN.fullmatch(key)
    digest = None if match is None else _parsed(f"{match[3]}:{match[4]}")
    named = None if match is None or digest is None else _named(match[1], digest)
    return None if match is None or named is None else (named[0], match[2], named[1])


def pinned_of(key: str) -> tuple[RepositoryName, Tag | Digest | None] | None:
    """The repository, and of it what a pin is about (see `layout.pin`); None for a stray object."""
    match = _PIN.fullmatch(key)
    try:
        if match is None:
            return None
        if match[3]:
            return RepositoryName(match[1]), Digest.parse(f"{match[3]}:{match[4]}")
        return RepositoryName(match[1]), Tag(match[2]) if match[2] else None
    except (DigestInvalid, NameInvalid, TagInvalid):
        return None


def blocked_of(key: str) -> Digest | None:
    """What a mark blocks; None for a stray object."""
    digest = _parsed(key.removeprefix(f"{BLOCKED}/").replace("/", ":", 1))
    return digest if digest is not None and digest.supported else None


def _digest(match: re.Match[str] | None) -> Digest | None:
    return None if match is None else _parsed(f"{match[1]}:{match[2]}")


def _named(name: str, digest: Digest) -> tuple[RepositoryName, Digest] | None:
    try:
        return RepositoryName(name), digest
    except NameInvalid:
        return None


def _parsed(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except DigestInvalid:
        return None


def secret_of(key: str) -> tuple[str, str]:
    """The kind and the name of a secret, for people: what cannot be one is its own name."""
    *kind, name = key.removeprefix(f"{SECRET}/").split("/")
    if len(kind) > 1 and len(name) == 20 and name.isdecimal():
        # The number of an entry in a log.
        *kind, name = kind
    try:
        return "/".join(kind), bytes.fromhex(name).decode()
    except (ValueError, UnicodeDecodeError):
        return "/".join(kind), name
