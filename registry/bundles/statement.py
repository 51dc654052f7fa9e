"""The statement of a bundle, `contents.jsonl`: the whole selection as it stands, and where its bytes lie.

A line each, in this order: manifests, each behind those that it lists; blobs by digest; tags by name. What is
not said to lie in a medium is believed to be where the bundle goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.bundles.contents import Content, Contents, Key, Piece
from registry.bundles.errors import BundleInvalid, unsound
from registry.bundles.format import CONTENTS, Totals, canonical, parse_object
from registry.errors import RegistryError
from registry.model import media_types
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted

LINE_BYTES = 4 << 20
MANIFEST_BYTES = 32 << 20
"""What a manifest cannot go over in any registry of ours; who reads a bundle may hold so much in memory."""

_ALGORITHMS = {32: "sha256", 64: "sha512"}
_AGAIN = "copy it once more from where it was made, or ask for a new one"


def key_of(digest: Digest) -> Key:
    """The bytes of a digest."""
    return bytes.fromhex(digest.encoded)


def digest_of(key: Key) -> Digest:
    """The digest of which these are the bytes."""
    return Digest(_ALGORITHMS[len(key)], key.hex())


@dataclass(slots=True)
class Statement:
    """All that is selected. Manifests stand behind those that they list.

    What is a manifest here and a blob there stands in both; its bytes then lie where the manifest's do.
    """

    manifests: Contents = field(default_factory=Contents)
    blobs: Contents = field(default_factory=Contents)
    tags: dict[tuple[str, str], Key] = field(default_factory=dict)

    @property
    def all(self) -> Iterator[tuple[Key, Content]]:
        """Manifests, then blobs."""
        yield from self.manifests.items()
        yield from self.blobs.items()

    def has(self, key: Key) -> bool:
        """Whether it is stated, as a manifest or a blob."""
        return key in self.manifests or key in self.blobs

    @property
    def carried(self) -> Iterator[tuple[Key, Content]]:
        """What lies in the bundle, in the order in which it lies there."""
        return ((key, one) for key, one in self.all if one.carried)

    @property
    def repositories(self) -> set[str]:
        """All that have something."""
        return {name for _, one in self.all for name in one.repositories} | {name for name, _ in self.tags}

    @property
    def totals(self) -> Totals:
        """What the head of the bundle says of it; what is manifest and blob counts as both."""
        sizes = files = carried = 0
        for _, one in self.all:
            sizes += one.size
            files += len(one.pieces)
            carried += one.size if one.carried else 0
        return Totals(
            repositories=len(self.repositories),
            tags=len(self.tags),
            manifests=len(self.manifests),
            blobs=len(self.blobs),
            bytes=sizes,
            carried_files=files,
            carried_bytes=carried,
        )

    @property
    def sparse(self) -> int:
        """How many manifests list what is not stated."""
        return sum(one.sparse for one in self.manifests.values())

    @property
    def names(self) -> dict[Key, list[tuple[str, str]]]:
        """The repositories and tags that name a manifest, of each that has such."""
        found: dict[Key, list[tuple[str, str]]] = {}
        for named, key in self.tags.items():
            found.setdefault(key, []).append(named)
        return found

    def order(self) -> None:
        """Put blobs and tags into the order in which they are written."""
        self.blobs = Contents((key, self.blobs[key]) for key in sorted(self.blobs))
        self.tags = dict(sorted(self.tags.items()))

    def lines(self) -> Iterator[bytes]:
        """The lines of the file."""
        for key, one in self.manifests.items():
            yield canonical(_line("manifest", key, one))
        for key, one in self.blobs.items():
            yield canonical(_line("blob", key, one))
        for (name, tag), key in self.tags.items():
            line = {"kind": "tag", "repository": name, "tag": tag, "digest": str(digest_of(key))}
            yield canonical(line)

    def sum(self) -> tuple[str, int]:
        """The SHA-256 and the size of the file."""
        hasher, size = hashlib.sha256(), 0
        for line in self.lines():
            hasher.update(line)
            size += len(line)
        return hasher.hexdigest(), size


class StatementReader:
    """Reads a statement line by line, as it comes, and believes none: each raises BundleInvalid.

    A line is given with the newline that ends it.
    """

    def __init__(self, media: int) -> None:
        self.statement = Statement()
        self._media = media
        self._number = 0
        self._lists: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._names: dict[str, str] = {}
        self._kinds = ("manifest", "blob", "tag")
        self._kind = 0
        self._last: Any = None
        self._medium = 1

    def lines(self, lines: Iterable[bytes]) -> None:
        """Read some lines."""
        for line in lines:
            self._number += 1
            self._line(line)

    def _line(self, line: bytes) -> None:
        if len(line) > LINE_BYTES:
            raise self._wrong("it is too long")
        document = parse_object(line, self._place)
        kind = document.get("kind")
        if kind not in self._kinds:
            raise self._wrong(f"its kind is {quoted(str(kind))}, and must be manifest, blob or tag")
        if (at := self._kinds.index(kind)) != self._kind:
            if at < self._kind:
                raise self._wrong(f"a {kind} stands behind what comes after those")
            self._kind, self._last = at, None
        try:
            if kind == "tag":
                self._tag(document)
            else:
                self._content(kind, document)
        except RegistryError as error:
            raise error if isinstance(error, BundleInvalid) else self._wrong(error.message) from None
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong(f"it lacks or garbles {error}") from None

    def _content(self, kind: str, document: Mapping[str, Any]) -> None:
        key = key_of(Digest.parse(_text(document["digest"])).require_supported())
        same = self.statement.manifests.get(key)
        if same is not None and kind == "manifest":
            raise self._wrong("its digest stands there twice")
        media_type = self._media_type(document) if kind == "manifest" else ""
        if "sparse" in document and (kind == "blob" or document["sparse"] is not True):
            raise self._wrong("only a manifest can be sparse, and then it says true")
        content = Content(
            _whole(document["size"]),
            self._repositories(document["repositories"]),
            media_type,
            "sparse" in document,
            self._pieces(document),
        )
        if content.carried and sum(one.size for one in content.pieces) != content.size:
            raise self._wrong("its pieces are not as large as it")
        if same is not None and (content.carried or content.size != same.size):
            raise self._wrong("it is a manifest, too, and must be as large, its bytes with the manifest's")
        if kind == "manifest":
            if content.size > MANIFEST_BYTES:
                raise self._wrong(f"a manifest has at most {MANIFEST_BYTES >> 20} MiB")
            self.statement.manifests[key] = content
            return
        self._in_order(key)
        self.statement.blobs[key] = content

    def _tag(self, document: Mapping[str, Any]) -> None:
        name, tag = RepositoryName(_text(document["repository"])), Tag(_text(document["tag"]))
        key = key_of(Digest.parse(_text(document["digest"])).require_supported())
        content = self.statement.manifests.get(key)
        if content is None or name not in content.repositories:
            raise self._wrong(f"{name}:{tag} names a manifest that is not stated for {name}")
        # The same text each time, and not one for each tag.
        named = self._name(name), str(tag)
        self._in_order(named)
        self.statement.tags[named] = key

    def _media_type(self, document: Mapping[str, Any]) -> str:
        media_type = _text(document["mediaType"])
        if media_type not in media_types.MANIFESTS:
            raise self._wrong(f"{quoted(media_type)} is not the media type of a manifest")
        return media_type

    def _repositories(self, told: object) -> tuple[str, ...]:
        if not isinstance(told, list) or not told:
            raise self._wrong("it is in no repository")
        names = tuple(_text(one) for one in told)
        known = self._lists.get(names)
        if known is None:
            if sorted(set(names)) != list(names):
                raise self._wrong("its repositories are not in order, or one is named twice")
            # One list, and each name once, however many lists have it.
            known = tuple(map(self._name, names))
            self._lists[known] = known
        return known

    def _name(self, text: str) -> str:
        known = self._names.get(text)
        if known is None:
            known = self._names[text] = str(RepositoryName(text))
        return known

    def _pieces(self, document: Mapping[str, Any]) -> tuple[Piece, ...]:
        if "pieces" in document and "medium" in document:
            raise self._wrong("it lies in one medium and in pieces")
        if "pieces" in document:
            told = document["pieces"]
            if not isinstance(told, list) or len(told) < 2:
                raise self._wrong("its pieces are none")
            pieces = tuple(Piece(_whole(one["medium"]), _whole(one["size"])) for one in told)
            if any(one.size == 0 for one in pieces):
                raise self._wrong("one of its pieces is empty")
        elif "medium" in document:
            pieces = (Piece(_whole(document["medium"]), _whole(document["size"])),)
        else:
            return ()
        if any(not 1 <= one.medium <= self._media for one in pieces):
            raise self._wrong(f"it lies in a medium that is none of the {self._media}")
        for one in pieces:
            # So that who reads a bundle needs each medium once.
            if one.medium < self._medium:
                raise self._wrong(f"it lies in medium {one.medium}, and what stands before it in a later one")
            self._medium = one.medium
        return pieces

    def _in_order(self, key: Any) -> None:
        if self._last is not None and key <= self._last:
            raise self._wrong("it is not in order")
        self._last = key

    @property
    def _place(self) -> str:
        return f"{CONTENTS}, line {self._number}"

    def _wrong(self, problem: str) -> BundleInvalid:
        return unsound(self._place, problem, _AGAIN)


def _line(kind: str, key: Key, one: Content) -> dict[str, Any]:
    line: dict[str, Any] = {
        "kind": kind,
        "digest": str(digest_of(key)),
        "size": one.size,
        "repositories": one.repositories,
    }
    if kind == "manifest":
        line["mediaType"] = one.media_type
    if one.sparse:
        line["sparse"] = True
    if len(one.pieces) == 1:
        line["medium"] = one.pieces[0].medium
    elif one.pieces:
        line["pieces"] = [{"medium": piece.medium, "size": piece.size} for piece in one.pieces]
    return line


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError("a whole number")
    return value
