"""Bad bundles: each is a sound one that was spoiled, with the file that whoever refuses it must name.

The verifier and the import run over the same table, and must agree.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.bundles.format import CONTENTS, HEAD, INDEX, LAYOUT, README, SUMS, Head, canonical
from registry.bundles.keys import SigningKey
from registry.bundles.media import file_name
from registry.bundles.signatures import is_signature, signature_files
from registry.bundles.statement import key_of
from registry.bundles.verify_bundle import DAMAGED, REFUSED, UNCHECKED
from registry.model import media_types
from registry.model.digests import Digest
from tests.bundles.handmade import (
    LAYER,
    Files,
    Member,
    Selection,
    files_of,
    flipped,
    images,
    members,
    resealed,
    summed,
    tar,
    write_folder,
)

PIECE_BYTES = 30_000


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys: two that are trusted, and one that is not."""

    trusted: SigningKey
    second: SigningKey
    stranger: SigningKey


@dataclass(frozen=True, slots=True)
class Bad:
    """A bad bundle: `write` makes it in a folder, and gives what is to be imported.

    `file` is what must be named, with the ids of keys in braces, and without line and medium; `verdict` is
    the verifier's exit code; `required` is how many of the two trusted keys must have signed. With
    `is_convenience` what is wrong is something that nobody trusts, so that an import may not look at it.
    """

    write: Callable[[Path, Keys], Path]
    file: str
    verdict: int = DAMAGED
    required: int = 1
    is_convenience: bool = False

    def is_named(self, keys: Keys, file: str) -> bool:
        """Whether that is the file that must be named, or a line of it, whatever the medium."""
        wanted = self.file.format(trusted=keys.trusted.public.id, second=keys.second.public.id)
        return re.fullmatch(rf"(medium-\d+/)?{re.escape(wanted)}(, line \d+)?", file) is not None


BAD: dict[str, Bad] = {}


def sound(keys: Keys, piece_bytes: int | None = None) -> Files:
    """The files of what all of these were, signed by both keys."""
    return files_of(images(), keys.trusted, keys.second, piece_bytes=piece_bytes)


# What lies where in them.
_SELECTION = images()
_MANIFESTS = [file_name(key) for key in _SELECTION.statement.manifests]
_BLOBS = sorted((one.size, file_name(key)) for key, one in _SELECTION.statement.blobs.items())
MANIFEST, LAST_MANIFEST, SMALL, LARGE, MIDDLE = (
    _MANIFESTS[0],
    _MANIFESTS[-1],
    _BLOBS[0][1],
    _BLOBS[-1][1],
    _BLOBS[-2][1],
)
KINDS = {
    "head": HEAD,
    "readme": README,
    "layout": LAYOUT,
    "statement": CONTENTS,
    "index": INDEX,
    "manifest": MANIFEST,
    "small blob": SMALL,
    "sha256 blob": MIDDLE,
    "sha512 blob": LARGE,
    "sums": SUMS,
}
assert "sha512" in LARGE and "sha256" in MIDDLE


def files(
    name: str,
    file: str,
    spoil: Callable[[Files, Keys], Files | None],
    *,
    verdict: int = DAMAGED,
    required: int = 1,
    is_convenience: bool = False,
) -> None:
    """Two entries of what is wrong with files: in a folder, and in a tar."""

    def spoiled(keys: Keys) -> Files:
        made = sound(keys)
        told = spoil(made, keys)
        return made if told is None else told

    def folder(path: Path, keys: Keys) -> Path:
        return write_folder(spoiled(keys), path / "bundle")

    def archive(path: Path, keys: Keys) -> Path:
        return _written(path, tar(members(spoiled(keys))))

    BAD[f"{name}, in a folder"] = Bad(folder, file, verdict, required, is_convenience)
    BAD[f"{name}, in a tar"] = Bad(archive, file, verdict, required, is_convenience)


def media(
    name: str,
    file: str,
    spoil: Callable[[Files, Keys], None],
    *,
    verdict: int = DAMAGED,
    is_convenience: bool = False,
) -> None:
    """An entry of what is wrong with several media."""

    def write(path: Path, keys: Keys) -> Path:
        made = sound(keys, PIECE_BYTES)
        spoil(made, keys)
        return write_folder(made, path / "media")

    BAD[f"{name}, in media"] = Bad(write, file, verdict, is_convenience=is_convenience)


def archive(name: str, file: str, spoil: Callable[[list[Member]], bytes]) -> None:
    """An entry of what is wrong with a tar."""

    def write(path: Path, keys: Keys) -> Path:
        return _written(path, spoil(members(sound(keys))))

    BAD[f"{name}, as a tar"] = Bad(write, file)


def folder(name: str, file: str, spoil: Callable[[Path], None]) -> None:
    """An entry of what is wrong in the file system."""

    def write(path: Path, keys: Keys) -> Path:
        made = write_folder(sound(keys), path / "bundle")
        spoil(made)
        return made

    BAD[f"{name}, in a file system"] = Bad(write, file)


def stated(name: str, file: str, spoil: Callable[[list[dict[str, object]]], list[bytes] | None]) -> None:
    """Entries of a statement that is wrong, in a bundle that is sealed and signed by who may."""

    def altered(made: Files, keys: Keys) -> Files:
        lines = [json.loads(line) for line in made[CONTENTS].splitlines()]
        written = spoil(lines)
        made[CONTENTS] = b"".join(map(canonical, lines) if written is None else written)
        return resealed(made, keys.trusted)

    files(name, file, altered)


def selected(name: str, file: Callable[[Selection], str], spoil: Callable[[Selection], None]) -> None:
    """Entries of a selection that cannot be, in a bundle that is sealed and signed by who may."""

    def made(_: Files, keys: Keys) -> Files:
        selection = images()
        spoil(selection)
        return files_of(selection, keys.trusted)

    selection = images()
    spoil(selection)
    files(name, file(selection), made)


def _written(path: Path, content: bytes) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "bundle.tar").write_bytes(content)
    return path / "bundle.tar"


# Signatures.


def _signed_by(*names: str) -> Callable[[Files, Keys], Files]:
    return lambda _, keys: files_of(images(), *(getattr(keys, name) for name in names))


def _other_head(made: Files, keys: Keys) -> None:
    key, other = keys.trusted, b"something else\n"
    made.update(signature_files(key.public, key.sign(other), other))


def _same_key_twice(_: Files, keys: Keys) -> Files:
    made = files_of(images(), keys.trusted)
    made[f"{HEAD}.{keys.second.public.id}.sig"] = made[f"{HEAD}.{keys.trusted.public.id}.sig"]
    return made


def _moved_tag(made: Files) -> None:
    lines = [json.loads(line) for line in made[CONTENTS].splitlines()]
    tags = [one for one in lines if one["kind"] == "tag" and one["repository"] == "team/app"]
    tags[0]["digest"] = next(one["digest"] for one in lines if one["kind"] == "manifest")
    made[CONTENTS] = b"".join(map(canonical, lines))


def _altered(made: Files, keys: Keys) -> Files:
    """What somebody would do who can do all but sign."""
    _moved_tag(made)
    signatures = {name: data for name, data in made.items() if is_signature(name)}
    return summed({**resealed(made), **signatures})


def _altered_and_signed(made: Files, keys: Keys) -> Files:
    _moved_tag(made)
    return resealed(made, keys.stranger)


def _flip(name: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        at = name.format(trusted=keys.trusted.public.id)
        made[at] = flipped(made[at])

    return spoil


files("unsigned", HEAD, _signed_by(), verdict=REFUSED)
files("signed by a key that is not trusted", HEAD, _signed_by("stranger"), verdict=REFUSED)
files("signed for another head", f"{HEAD}.{{trusted}}.sig", _other_head, verdict=REFUSED)
files("signed by one where two must", HEAD, _signed_by("trusted", "stranger"), verdict=REFUSED, required=2)
files("signed by one key twice", f"{HEAD}.{{second}}.sig", _same_key_twice, verdict=REFUSED, required=2)
files("altered behind the signature", f"{HEAD}.{{trusted}}.sig", _altered, verdict=DAMAGED)
files("altered and signed by somebody else", HEAD, _altered_and_signed, verdict=DAMAGED)
for _end in ("sig", "sigstore.json"):
    _name = f"{HEAD}.{{trusted}}.{_end}"
    files(f"a bit flipped in the {_end}", _name, _flip(_name), verdict=REFUSED)


# A file that is not what it was.


def _without(name: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        del made[name]

    return spoil


def _short(name: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        made[name] = made[name][: len(made[name]) // 2]

    return spoil


def _longer(name: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        made[name] += b"\n"

    return spoil


def _renamed(name: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        made[f"{name}.old"] = made.pop(name)

    return spoil


for _kind, _name in KINDS.items():
    _sums = _name == SUMS
    files(f"a bit flipped in the {_kind}", _name, _flip(_name), is_convenience=_sums)
    files(f"the {_kind} missing", _name, _without(_name), is_convenience=_sums)
    files(f"the {_kind} truncated", _name, _short(_name), is_convenience=_sums)
    files(f"the {_kind} longer", _name, _longer(_name), is_convenience=_sums)
    files(f"the {_kind} renamed", _name, _renamed(_name))


def _other() -> Selection:
    made = Selection()
    made.tag("team/other", "1", made.image("other", "team/other"))
    return made


def _of_another(*names: str) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        other = files_of(_other(), keys.trusted)
        made.update({name: other[name] for name in names or other if name.startswith("blobs/") or names})

    return spoil


_STRANGE = min(name for name in files_of(_other()) if name.startswith("blobs/"))
files("blobs of another bundle", _STRANGE, _of_another())
files("the head of another bundle", CONTENTS, _of_another(HEAD))
files("the statement of another bundle", CONTENTS, _of_another(CONTENTS))
files("the index of another bundle", INDEX, _of_another(INDEX))


def _swapped(made: Files, keys: Keys) -> None:
    made[SMALL], made[MIDDLE] = made[MIDDLE], made[SMALL]


def _put(name: str, content: bytes) -> Callable[[Files, Keys], None]:
    def spoil(made: Files, keys: Keys) -> None:
        made[name] = content

    return spoil


files("two blobs under each other's names", MIDDLE, _swapped)
files("a file that nobody stated", "notes.txt", _put("notes.txt", b"hello"))
files("a file that hides", ".hidden", _put(".hidden", b"hello"))
files("a piece of what is in one", f"{SMALL}.000", _put(f"{SMALL}.000", b"hello"))

# Heads and statements that say what cannot be.


def _with_head(altered: Callable[[bytes], bytes]) -> Callable[[Files, Keys], Files]:
    """With another head, which somebody who may has signed."""

    def spoil(made: Files, keys: Keys) -> Files:
        about, key = altered(made[HEAD]), keys.trusted
        rest = {name: data for name, data in made.items() if not is_signature(name)}
        return summed({**rest, HEAD: about, **signature_files(key.public, key.sign(about), about)})

    return spoil


def _head(**fields: object) -> Callable[[Files, Keys], Files]:
    return _with_head(lambda content: canonical({**json.loads(content), **fields}))


def _is_head(content: bytes) -> Callable[[Files, Keys], Files]:
    return _with_head(lambda _: content)


def _deep(levels: int) -> object:
    """A list in a list, and so on."""
    made: object = 1
    for _ in range(levels):
        made = [made]
    return made


def _sealed(**fields: object) -> Callable[[Files, Keys], Files]:
    """With a head that says something else, and has the id that this makes."""

    def altered(content: bytes) -> bytes:
        told = {name: one for name, one in json.loads(content).items() if name != "id"}
        digest = hashlib.sha256(canonical(told := {**told, **fields})).hexdigest()
        return canonical({**told, "id": f"b-{digest[:20]}"})

    return _with_head(altered)


def _pretty(content: bytes) -> bytes:
    return json.dumps(json.loads(content), indent=1).encode()


def _said_twice(content: bytes) -> bytes:
    return content.replace(b'"number":1,', b'"number":1,"number":1,', 1)


def _other_totals(made: Files, keys: Keys) -> Files:
    totals = Head.decode(made[HEAD]).totals
    return resealed(made, keys.trusted, totals=replace(totals, tags=totals.tags + 1))


def _with_other_index(made: Files, keys: Keys) -> Files:
    index = json.loads(made[INDEX])
    del index["manifests"][-1]
    made[INDEX] = canonical(index)
    return resealed(made, keys.trusted)


DEEP = b"[" * 50_000 + b"]" * 50_000
files("a head with another number", HEAD, _head(number=2))
files("a head of a later format", HEAD, _head(format="2.0"))
files("a head without a format", HEAD, _head(format=None))
files("a head that is indented", HEAD, _with_head(_pretty))
files("a head that says one thing twice", HEAD, _with_head(_said_twice))
files("a head nested without end", HEAD, _is_head(b'{"format":' + DEEP + b"}\n"))
for _levels in (100, 600, 900):
    files(f"a head nested {_levels} levels deep", HEAD, _sealed(selection={"repositories": _deep(_levels)}))
files("a head with a number of 41 characters", HEAD, _sealed(more=10**40))
files("a head of brackets", HEAD, _is_head(b'{"format":[' + b"[]," * 300_000 + b"[]]}\n"))
files("a head that is too large", HEAD, _head(more="x" * (2 << 20)))
files("an index that does not list all", INDEX, _with_other_index)
files("a head with another sum of tags", HEAD, _other_totals)


def _line(lines: list[dict[str, object]], kind: str, at: int = 0) -> dict[str, object]:
    return [one for one in lines if one["kind"] == kind][at]


def _first(which: str, **fields: object) -> Callable[[list[dict[str, object]]], None]:
    def spoil(lines: list[dict[str, object]]) -> None:
        _line(lines, which).update(fields)

    return spoil


def _backwards(lines: list[dict[str, object]]) -> None:
    lines.reverse()


def _blobs_backwards(lines: list[dict[str, object]]) -> None:
    first, second = (lines.index(_line(lines, "blob", at)) for at in (0, 1))
    lines[first], lines[second] = lines[second], lines[first]


def _doubled(kind: str) -> Callable[[list[dict[str, object]]], None]:
    def spoil(lines: list[dict[str, object]]) -> None:
        one = _line(lines, kind)
        lines.insert(lines.index(one), one)

    return spoil


def _lost(kind: str, at: int) -> Callable[[list[dict[str, object]]], None]:
    def spoil(lines: list[dict[str, object]]) -> None:
        lines.remove(_line(lines, kind, at))

    return spoil


stated("a tag of a manifest that is not stated", CONTENTS, _first("tag", digest=f"sha256:{'0' * 64}"))
stated("a tag of another repository", CONTENTS, _first("tag", repository="team/tool"))
stated("a repository that leads out", CONTENTS, _first("manifest", repositories=["../team"]))
stated("a tag that leads out", CONTENTS, _first("tag", tag="../1"))
stated("a digest that leads out", CONTENTS, _first("blob", digest="sha256:../../../etc/passwd"))
stated("a size below nothing", CONTENTS, _first("blob", size=-1))
stated("a size that is a fraction", CONTENTS, _first("blob", size=1.5))
stated("a medium that is none", CONTENTS, _first("blob", medium=2))
stated("a medium and pieces", CONTENTS, _first("blob", pieces=[{"medium": 1, "size": 1}] * 2))
stated("a media type of no manifest", CONTENTS, _first("manifest", mediaType="text/html"))
stated("a sparse blob", CONTENTS, _first("blob", sparse=True))
stated("a kind that is none", CONTENTS, _first("blob", kind="link"))
stated("lines backwards", CONTENTS, _backwards)
stated("blobs out of order", CONTENTS, _blobs_backwards)
for _kind in ("manifest", "blob", "tag"):
    stated(f"the same {_kind} twice", CONTENTS, _doubled(_kind))
stated("an index before what it lists", CONTENTS, lambda lines: lines.insert(0, lines.pop(2)))
stated("a manifest that is not stated", INDEX, _lost("manifest", 0))
stated("a line nested without end", CONTENTS, lambda lines: [b'{"kind":' + DEEP + b"}\n"])
stated("a line nested 100 levels deep", CONTENTS, _first("manifest", more=_deep(100)))
stated("a line with a number of 41 characters", CONTENTS, _first("blob", more=10**40))
stated("a line that is too long", CONTENTS, lambda lines: [canonical({"kind": "x" * (5 << 20)})])
stated(
    "a line that is cut off", CONTENTS, lambda lines: [*map(canonical, lines[:-1]), canonical(lines[-1])[:-1]]
)


def _manifest_of(data: bytes) -> Callable[[Selection], None]:
    """A manifest with those bytes, stated and carried."""

    def spoil(selection: Selection) -> None:
        key = key_of(Digest.of(data))
        kept = selection.statement.manifests[next(iter(selection.statement.manifests))]
        selection.statement.manifests[key] = type(kept)(len(data), ("team/tool",), media_types.OCI_IMAGE)
        selection.content[key] = data

    return spoil


def _nested(levels: int) -> bytes:
    """A manifest that is sound but for its depth."""
    kept = _SELECTION.content[next(reversed(_SELECTION.statement.manifests))]
    return kept[:-1] + b',"more":' + b"[" * levels + b"]" * levels + b"}"


_TWICE = _nested(1)[:-1] + b',"more":[]}'


def _last_manifest(selection: Selection) -> str:
    return file_name(next(reversed(selection.statement.manifests)))


def _image(**fields: Any) -> Callable[[Selection], None]:
    def spoil(selection: Selection) -> None:
        selection.image("bad", "team/tool", **fields)
        selection.statement.order()

    return spoil


_ABSENT = {"mediaType": LAYER, "digest": f"sha256:{'0' * 64}", "size": 5}


def _of_elsewhere(selection: Selection) -> None:
    """An image whose layer is stated, but for another repository."""
    layer = selection.blob(b"elsewhere", "team/app")
    selection.image("bad", "team/tool", layers=[layer])
    selection.statement.order()


def _foreign_config(selection: Selection) -> None:
    """A config that says that it is a layer, and one that may lie elsewhere."""
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    selection.manifest({"config": {**_ABSENT, "mediaType": foreign}, "layers": []}, "team/tool")


def _index_of_absent(selection: Selection) -> None:
    child = {**_ABSENT, "mediaType": media_types.OCI_IMAGE}
    selection.manifest({"manifests": [child]}, "team/tool", media_type=media_types.OCI_INDEX)


def _other_size(selection: Selection) -> None:
    layer = selection.blob(b"size", "team/tool")
    selection.image("bad", "team/tool", layers=[{**layer, "size": 5}])
    selection.statement.order()


selected("a manifest that is no JSON", _last_manifest, _manifest_of(b"nothing"))
selected(
    "a manifest nested without end", _last_manifest, _manifest_of(b'{"schemaVersion":2,"a":' + DEEP + b"}")
)
selected("a manifest nested rather deep", _last_manifest, _manifest_of(_nested(100)))
selected("a manifest that says one thing twice", _last_manifest, _manifest_of(_TWICE))
selected("a manifest without a config", _last_manifest, _manifest_of(b'{"schemaVersion":2}'))
selected("a manifest of another kind", _last_manifest, _image(mediaType=media_types.OCI_INDEX))
selected("an image whose layer is not stated", _last_manifest, _image(layers=[_ABSENT]))
selected("an image whose layer is not stated there", _last_manifest, _of_elsewhere)
selected("an image whose config is not stated", _last_manifest, _foreign_config)
selected("an index whose image is not stated", _last_manifest, _index_of_absent)
selected("an image that says another size", _last_manifest, _other_size)

# Media.


def _before(made: Files) -> str:
    """The folder of the second piece of the large blob."""
    return next(name for name in made if name.endswith(f"{LARGE}.001")).partition("/")[0]


def _piece_flipped(made: Files, keys: Keys) -> None:
    name = f"{_before(made)}/{LARGE}.001"
    made[name] = flipped(made[name])


def _piece_missing(made: Files, keys: Keys) -> None:
    del made[f"{_before(made)}/{LARGE}.001"]


def _piece_short(made: Files, keys: Keys) -> None:
    name = f"{_before(made)}/{LARGE}.001"
    made[name] = made[name][:-1]


def _pieces_swapped(made: Files, keys: Keys) -> None:
    first, second = (next(one for one in made if one.endswith(f"{LARGE}.00{at}")) for at in (1, 2))
    made[first], made[second] = made[second], made[first]


def _piece_doubled(made: Files, keys: Keys) -> None:
    made[f"medium-001/{LARGE}.001"] = made[f"{_before(made)}/{LARGE}.001"]


def _piece_moved(made: Files, keys: Keys) -> None:
    made[f"medium-001/{LARGE}.001"] = made.pop(f"{_before(made)}/{LARGE}.001")


def _medium_missing(made: Files, keys: Keys) -> None:
    for name in [one for one in made if one.startswith("medium-002/")]:
        del made[name]


def _medium_of_another(made: Files, keys: Keys) -> None:
    about = files_of(_other(), keys.trusted)[HEAD]
    made[f"medium-002/{HEAD}"] = about


def _statement_doubled(made: Files, keys: Keys) -> None:
    made[f"medium-002/{CONTENTS}"] = made[f"medium-001/{CONTENTS}"]


def _no_head(made: Files, keys: Keys) -> None:
    del made[f"medium-003/{HEAD}"]


media("a bit flipped in a piece", f"{LARGE}.001", _piece_flipped)
media("a piece missing", f"{LARGE}.001", _piece_missing)
media("a piece truncated", f"{LARGE}.001", _piece_short)
media("two pieces swapped", f"{LARGE}.001", _pieces_swapped)
media("a piece doubled", f"{LARGE}.001", _piece_doubled)
# Its bytes are what they must be, wherever they lie.
media("a piece in another medium", f"{LARGE}.001", _piece_moved, is_convenience=True)
media("a medium missing", "medium-002", _medium_missing, verdict=UNCHECKED)
media("a medium of another bundle", HEAD, _medium_of_another)
media("the statement doubled", CONTENTS, _statement_doubled)
media("a medium without a head", HEAD, _no_head)

# What a tar can have besides files.


def _with(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b""
) -> Callable[..., bytes]:
    """One more member, before `SHA256SUMS`."""

    def spoil(listed: list[Member]) -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        listed.insert(-1, (info, data))
        return tar(listed)

    return spoil


def _doubled_member(listed: list[Member]) -> bytes:
    at = [info.name for info, _ in listed].index(MIDDLE)
    return tar([*listed[: at + 1], *listed[at:]])


def _linked_member(kind: bytes) -> Callable[[list[Member]], bytes]:
    def spoil(listed: list[Member]) -> bytes:
        info = next(info for info, _ in listed if info.name == MIDDLE)
        info.type, info.linkname, info.size = kind, SMALL, 0
        return tar([(one, b"" if one is info else data) for one, data in listed])

    return spoil


def _head_last(listed: list[Member]) -> bytes:
    return tar([*listed[1:], listed[0]])


def _pax_bomb(listed: list[Member]) -> bytes:
    listed[-1][0].pax_headers = {"comment": "x" * (1 << 20)}
    return tar(listed)


def _second(listed: list[Member]) -> bytes:
    return tar(listed) + tar(listed)


def _without_end(listed: list[Member]) -> bytes:
    whole, written = tar(listed), io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for info, data in listed:
            opened.addfile(info, io.BytesIO(data))
        length = written.tell()
    return whole[:length]


def _bad_header(listed: list[Member]) -> bytes:
    whole = bytearray(tar(listed))
    whole[100] ^= 1  # of the mode of the first, which the checksum covers
    return bytes(whole)


def _sized(size: bytes) -> Callable[[list[Member]], bytes]:
    """With another size in the first header, whose checksum is right."""

    def spoil(listed: list[Member]) -> bytes:
        whole = bytearray(tar(listed))
        whole[124:136] = size
        whole[148:156] = b" " * 8
        whole[148:156] = b"%06o\0 " % sum(whole[:512])
        return bytes(whole)

    return spoil


for _told, _name in {
    "a name that leads up": "../evil",
    "a name that leads up from below": "blobs/../../evil",
    "an absolute name": "/etc/evil",
}.items():
    archive(_told, _name, _with(_name, data=b"evil"))
archive("a name that a terminal would obey", r"'\x1b]0;x\x07'", _with("\x1b]0;x\x07"))
archive("a link", "evil", _with("evil", tarfile.SYMTYPE, "/etc/passwd"))
archive("a hard link", "evil", _with("evil", tarfile.LNKTYPE, "/etc/passwd"))
archive("a character device", "evil", _with("evil", tarfile.CHRTYPE))
archive("a block device", "evil", _with("evil", tarfile.BLKTYPE))
archive("a pipe", "evil", _with("evil", tarfile.FIFOTYPE))
archive("a folder", "evil", _with("evil", tarfile.DIRTYPE))
archive("a sparse file", "evil", _with("evil", tarfile.GNUTYPE_SPARSE))
archive("a blob that is a link", MIDDLE, _linked_member(tarfile.SYMTYPE))
archive("a blob that is a hard link", MIDDLE, _linked_member(tarfile.LNKTYPE))
archive("a blob twice", MIDDLE, _doubled_member)
archive("the head at the end", HEAD, _head_last)
archive("records without end", "the tar", _pax_bomb)
archive("a second one behind it", "the tar", _second)
archive("cut off in a file", LARGE, lambda listed: tar(listed)[: len(tar(listed)) // 2])
archive("cut off before its end", "the tar", _without_end)
archive("a garbled header", "the tar", _bad_header)
archive("a size below nothing", "the tar", _sized(b"-0000000001\0"))
archive("a size in another way of writing", "the tar", _sized(b"\x80" + bytes(10) + b"\x01"))
archive("nothing", "the tar", lambda listed: b"")
archive("packed by gzip", "the tar", lambda listed: gzip.compress(tar(listed)))
archive("packed by bzip2", "the tar", lambda listed: bz2.compress(tar(listed)))
archive("packed by xz", "the tar", lambda listed: lzma.compress(tar(listed)))

# What a file system can have besides files.


def _linked(name: str, to: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(to)

    return spoil


def _pipe(folder: Path) -> None:
    (folder / MIDDLE).unlink()
    os.mkfifo(folder / MIDDLE)


folder("a blob that is a link", MIDDLE, _linked(MIDDLE, "../../../elsewhere"))
folder("a head that is a link", HEAD, _linked(HEAD, "../elsewhere"))
folder("a link that leads nowhere", README, _linked(README, "/nowhere"))
folder("blobs behind a link", "blobs", _linked("blobs", "../elsewhere"))
folder("a blob that is a pipe", MIDDLE, _pipe)


def _folder(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for made in list(folder.glob(name)) or [folder / name]:
            made.unlink(missing_ok=True)
            made.mkdir()

    return spoil


def _named(name: bytes) -> Callable[[Path], None]:
    return lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()


folder("a head that is a folder", HEAD, _folder(HEAD))
folder("a signature that is a folder", f"{HEAD}.{{trusted}}.sig", _folder(f"{HEAD}.*.sig"))
folder("a folder that no bundle has", "more", _folder("more"))
folder("a name that a terminal would obey", r"'\x1b]0;x\x07'", _named(b"\x1b]0;x\x07"))
folder("a name that is no text", r"'\udcff'", _named(b"\xff"))
