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
_HISTORY = re.compile(r"_moorage/v1/history/(.+)/_/([^/]+)/[0-9]{20}-[0-9a-f-]+")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_DIGITS = str.maketrans("0ABCDEFGHIJ", "/0123456789")


@dataclass
class Seen:
    """What a pull would find, as `kind repository which`, with its value; and what is half-made."""

    facts: dict[str, str] = field(default_factory=dict)
    half: list[str] = field(default_factory=list)


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
    for path, data in tree.items():
        if (blob := _BLOB.fullmatch(path)) and _hash(data, blob[1]) != blob[3]:
            seen.half.append(f"{path} has other bytes")
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
            if "_moorage/v1/catalog-complete" in tree:
                seen.facts[f"complete {name}"] = name
        elif (move := _HISTORY.fullmatch(path)) and (entry := _document(seen, path, data)):
            if entry["digest"] is None:
                fact = f"history {move[1]} {move[2]} deleted"
                seen.facts[fact] = fact
            else:
                seen.facts[f"history {move[1]} {move[2]} {entry['digest']}"] = str(entry["digest"])
        elif path.startswith("_moorage/v1/trash/runs/"):
            _read_run(seen, tree, path, data)
    _look_at_what_depends(seen, tree)
    return seen


def _follow(seen: Seen, tree: Tree, path: str, link: re.Match[str], data: bytes) -> None:
    name, kind, _, _, tag = link.groups()
    target = data.decode(errors="replace")
    algorithm, _, encoded = target.partition(":")
    if tag is not None:
        seen.facts[f"tag {name} {tag}"] = target
    else:
        kind = {"_layers": "blob", "_manifests/revisions": "manifest"}[kind]
        seen.facts[f"{kind} {name} {link[3]}:{link[4]}"] = f"{link[3]}:{link[4]}"
        if f"docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data" not in tree:
            seen.half.append(f"{path} leads to {target!r}, which is not there")


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
            if one is not None and f"blob {name} {one['digest']}" not in seen.facts:
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
