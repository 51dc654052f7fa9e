"""A reader of the layout that shares no line with the program: what lies there, and what of it is not whole.

Written from ARCHITECTURE.md, "What lies where", and from Distribution's documentation of its own tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

Tree = Mapping[str, bytes]
"""Every file by its path, unfinished ones left out."""

_REPOSITORIES = "docker/registry/v2/repositories"
_BLOB = re.compile(r"docker/registry/v2/blobs/(\w+)/(\w\w)/(\w+)/data")
_LINK = re.compile(
    r"docker/registry/v2/repositories/(.+)/"
    r"(?:(_layers|_manifests/revisions)/(\w+)/(\w+)/link|_manifests/tags/([^/]+)/current/link)"
)
_WHOLE = re.compile(r"_moorage/v1/manifests/(.+)/_/(\w+)/(\w+)")
_REFERRER = re.compile(r"_moorage/v1/referrers/(.+)/_/(\w+)/(\w+)/(\w+)-(\w+)")
_TAKEN = re.compile(r"_moorage/v1/trash/links/(.+)/_/layers/(\w+)/(\w+)/(c|u)-[^/]+")
_HISTORY = re.compile(r"_moorage/v1/history/(.+)/_/([^/]+)/[0-9]{20}-[0-9a-f-]+")
_UPLOAD = re.compile(r"_moorage/v1/uploads/([0-9a-f-]+)/session")
_BLOCKED = re.compile(r"_moorage/v1/blocked/(\w+)/(\w+)")
_PUSHED = re.compile(r"_moorage/v1/origins/(.+)/_/here/(\w+)/(\w+)")
_PIN = re.compile(r"_moorage/v1/pins/(.+)/_/manifests/(\w+)/(\w+)")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_DIGITS = str.maketrans("0ABCDEFGHIJ", "/0123456789")


@dataclass
class Seen:
    """What a pull would find, as `kind repository which`, with its value; and what is half-made.

    What is wrong with the data of a digest is `hurt`, since it may have been damaged on purpose.
    """

    facts: dict[str, str] = field(default_factory=dict)
    half: list[str] = field(default_factory=list)
    # Blobs whose link lies in the trash, where a pull finds it, and that no user has deleted.
    taken: set[str] = field(default_factory=set)
    hurt: dict[str, str] = field(default_factory=dict)


def tree_of(root: str | os.PathLike[str]) -> dict[str, bytes]:
    """The files below a directory."""
    found = {}
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if not name.startswith(".tmp-")]
        for name in files:
            if not name.startswith(".tmp-"):
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


def look(tree: Tree) -> Seen:
    """Read a whole tree."""
    seen = Seen()
    taken = [match.groups() for path in tree if (match := _TAKEN.fullmatch(path))]
    seen.taken = {f"blob {name} {algorithm}:{encoded}" for name, algorithm, encoded, _ in taken} - {
        f"blob {name} {algorithm}:{encoded}" for name, algorithm, encoded, by in taken if by == "u"
    }
    for path, data in tree.items():
        if blob := _BLOB.fullmatch(path):
            digest, found = f"{blob[1]}:{blob[3]}", f"{blob[1]}:{_hash(data, blob[1])}"
            seen.facts[f"data store {digest}"] = found
            if found != digest:
                seen.hurt[digest] = f"{path} has other bytes"
        elif kept := re.fullmatch(r"_moorage/v1/quarantine/(\w+)/(\w+)/[^/]+", path):
            seen.facts[f"quarantine store {kept[1]}:{kept[2]}"] = f"{kept[1]}:{_hash(data, kept[1])}"
    for path, data in tree.items():
        if link := _LINK.fullmatch(path):
            _follow(seen, tree, path, link, data)
        elif whole := _WHOLE.fullmatch(path):
            if _hash(data.partition(b"\n")[2], whole[2]) != whole[3]:
                seen.half.append(f"{path} has other bytes")
            seen.facts[f"manifest {whole[1]} {whole[2]}:{whole[3]}"] = f"{whole[2]}:{whole[3]}"
        elif path.startswith("_moorage/v1/catalog/"):
            name = path.rpartition("/")[2].translate(_DIGITS)
            if _document(seen, path, data) and f"{_REPOSITORIES}/{name}/_layers/_placeholder" in tree:
                seen.facts[f"listed {name}"] = name
        elif (move := _HISTORY.fullmatch(path)) and (entry := _document(seen, path, data)):
            history = f"history {move[1]} {move[2]} {entry['digest'] or 'deleted'}"
            times = next(times for times in count(1) if f"{history} {times}" not in seen.facts)
            seen.facts[f"{history} {times}"] = entry["digest"] or f"{history} {times}"
        elif path.startswith("_moorage/v1/trash/runs/"):
            _read_run(seen, tree, path, data)
        elif upload := _UPLOAD.fullmatch(path):
            _read_upload(seen, tree, upload[1], data)
        elif path == "_moorage/v1/format" and _document(seen, path, data):
            seen.facts["format store"] = "format store"
        elif (mark := _BLOCKED.fullmatch(path)) and _document(seen, path, data):
            fact = f"blocked store {mark[1]}:{mark[2]}"
            seen.facts[fact] = fact
        elif pushed := _PUSHED.fullmatch(path):
            seen.facts[f"pushed {pushed[1]} {pushed[2]}:{pushed[3]}"] = f"{pushed[2]}:{pushed[3]}"
        elif (pin := _PIN.fullmatch(path)) and _document(seen, path, data):
            seen.facts[f"pin {pin[1]} {pin[2]}:{pin[3]}"] = f"{pin[2]}:{pin[3]}"
        elif path in ("_moorage/v1/read-only", "_moorage/v1/catalog-complete"):
            fact = f"{path.rpartition('/')[2].removeprefix('catalog-')} store"
            seen.facts[fact] = fact
    _look_at_what_depends(seen, tree)
    return seen


def unneeded(tree: Tree) -> list[str]:
    """The blob links that no manifest of their repository refers to, and data that no other link names."""
    needed: dict[str, set[str]] = {}
    held: set[str] = set()
    layers = []
    for path, data in tree.items():
        if (link := _LINK.fullmatch(path)) and link[2] == "_manifests/revisions":
            held |= {f"{link[3]}:{link[4]}", data.decode()}
            algorithm, _, encoded = data.decode().partition(":")
            content = tree.get(f"docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data", b"{}")
            needed.setdefault(link[1], set()).update(_references(content))
        elif link and link[2] == "_layers":
            layers.append((path, link[1], f"{link[3]}:{link[4]}", data.decode()))
        elif whole := _WHOLE.fullmatch(path):
            needed.setdefault(whole[1], set()).update(_references(data.partition(b"\n")[2]))
    for _, name, digest, target in layers:
        if digest in needed.get(name, set()):
            needed[name].add(target)
    held |= {digest for _, name, *both in layers for digest in both if both[0] in needed.get(name, set())}
    found = [path for path, name, digest, _ in layers if digest not in needed.get(name, set())]
    blobs = [(path, blob) for path in tree if (blob := _BLOB.fullmatch(path))]
    return sorted(found + [path for path, blob in blobs if f"{blob[1]}:{blob[3]}" not in held])


def _references(content: bytes) -> set[str]:
    document = json.loads(content)
    lists = (document.get(name) or [] for name in ("layers", "blobs", "manifests"))
    found = [document.get("config"), *(one for each in lists for one in each)]
    return {one["digest"] for one in found if one}


def _follow(seen: Seen, tree: Tree, path: str, link: re.Match[str], data: bytes) -> None:
    name, kind, _, _, tag = link.groups()
    target = data.decode(errors="replace")
    algorithm, _, encoded = target.partition(":")
    if tag is not None:
        seen.facts[f"tag {name} {tag}"] = target
        return
    kind = {"_layers": "blob", "_manifests/revisions": "manifest"}[kind]
    content = tree.get(f"docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data")
    if kind == "manifest":
        seen.facts[f"manifest {name} {link[3]}:{link[4]}"] = f"{link[3]}:{link[4]}"
    elif content is not None:
        seen.facts[f"blob {name} {link[3]}:{link[4]}"] = f"{link[3]}:{_hash(content, link[3])}"
    if content is None:
        seen.hurt[target] = f"{path} leads to {target!r}, which is not there"


def _look_at_what_depends(seen: Seen, tree: Tree) -> None:
    """Tags name manifests of their repository, which have their blobs; referrers show by manifests."""
    for fact, target in list(seen.facts.items()):
        kind, name, *which = fact.split(" ")
        if kind == "tag" and f"manifest {name} {target}" not in seen.facts:
            seen.half.append(f"{fact} names {target!r}, which is not there")
        if kind != "manifest":
            continue
        algorithm, _, encoded = which[0].partition(":")
        content = tree.get(f"docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data")
        if content is None:
            content = tree.get(f"_moorage/v1/manifests/{name}/_/{algorithm}/{encoded}", b"").partition(b"\n")[
                2
            ]
        document = _document(seen, fact, content) or {}
        for one in [document.get("config"), *document.get("layers", [])]:
            if one is not None and f"blob {name} {one['digest']}" not in seen.facts.keys() | seen.taken:
                seen.half.append(f"{fact} needs {one['digest']}, which is not there")
    for path, data in tree.items():
        if entry := _REFERRER.fullmatch(path):
            name, digest = entry[1], f"{entry[4]}:{entry[5]}"
            if f"manifest {name} {digest}" in seen.facts and _document(seen, path, data):
                seen.facts[f"referrer {name} {entry[2]}:{entry[3]} {digest}"] = digest


def _read_run(seen: Seen, tree: Tree, path: str, data: bytes) -> None:
    run = _document(seen, path, data) or {"moves": []}
    for move in run["moves"]:
        if _DIGEST.fullmatch(tree.get(move["trash"], b"")) and (link := _LINK.fullmatch(move["key"])):
            name, kind, algorithm, encoded, tag = link.groups()
            kind = {"_layers": "blob", "_manifests/revisions": "manifest", None: "tag"}[kind]
            fact = f"trash {name} {kind} {tag or f'{algorithm}:{encoded}'}"
            seen.facts[fact] = fact


def _read_upload(seen: Seen, tree: Tree, uuid: str, data: bytes) -> None:
    """How far it got; a record that a power cut has torn is none."""
    try:
        size = 0
        while record := tree.get(f"_moorage/v1/uploads/{uuid}/chunk-{size:020d}"):
            size += json.loads(record)["size"]
        seen.facts[f"upload {json.loads(data)['repository']} {uuid}"] = str(size)
    except (ValueError, KeyError):
        return


def _document(seen: Seen, where: str, data: bytes) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(data)
        return document
    except ValueError:
        seen.half.append(f"{where} is no document: {data[:20]!r}")
        return None


@lru_cache(maxsize=1000)
def _hash(data: bytes, algorithm: str) -> str:
    return hashlib.new(algorithm, data).hexdigest()
