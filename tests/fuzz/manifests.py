"""Manifests of every type, first sound, then spoilt: in what they say, how they say it, or their bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.api.contents import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_ARTIFACT,
    OCI_CONFIG,
    OCI_IMAGE,
    OCI_INDEX,
    OCI_LAYER,
    ORAS_ARTIFACT,
    random_digest,
)

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        3,
        2**31,
        2**63,
        2**64,
        -(2**63),
        10**30,
        1.0,
        1.5,
        1e308,
        2e-9,
        [],
        {},
        "",
        " ",
    ),
    *(
        "x",
        "\x00",
        "é",
        "\ud800",
        "\u202e",
        "a" * 300,
        "a" * 70_000,
        "sha256:",
        "sha256:x",
        "sha512:" + "0" * 64,
    ),
    *(
        "sha256:" + "0" * 64,
        "sha256:" + "A" * 64,
        "md5:" + "0" * 32,
        "../../etc/passwd",
        "sha256:../x",
        [[]],
        [{}],
    ),
    *(
        {"": ""},
        {"a": {"a": {"a": []}}},
        [None],
        ["x"],
        {"digest": 5},
        {"mediaType": "text/html"},
        "text/html",
    ),
    *(OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, "application/vnd.docker.distribution.manifest.v1+prettyjws", "*/*"),
    *("application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.empty.v1+json"),
)
KEYS = (
    *("schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "subject", "annotations"),
    *(
        "artifactType",
        "MediaType",
        "Config",
        "urls",
        "data",
        "platform",
        "digest",
        "size",
        "fsLayers",
        "signatures",
    ),
    *("", "\x00", "__proto__", "é", "x" * 300),
)
TYPES = (
    *(
        None,
        "",
        "application/json",
        "text/html",
        "text/plain",
        "application/octet-stream",
        "x",
        "a/b; c=d",
        "*/*",
    ),
    *(f"{OCI_IMAGE}; charset=utf-8", OCI_IMAGE.upper(), "multipart/form-data; boundary=x", "a/" + "b" * 3000),
)
REFERENCES = (
    *(
        "latest",
        "t" * 128,
        "t" * 129,
        "-x",
        ".x",
        "x:y",
        "%00",
        "é",
        "sha256:x",
        "sha512:" + "0" * 128,
        "a%2fb",
    ),
    *("sha256:" + "0" * 64, "_catalog", "tags", "%2e%2e", "x" * 5000),
)


@dataclass(frozen=True, slots=True)
class Held:
    """What the repository has: blobs, and manifests with their type."""

    blobs: dict[str, int]
    manifests: dict[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One push."""

    reference: str | None
    media_type: str | None
    content: bytes


def attempt(chance: random.Random, held: Held) -> Attempt:
    """A push made by chance; without a reference it is by the digest of its bytes."""
    media_type, document = _sound(chance, held)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
        _spoil(chance, document)
    content = _written(chance, document)
    if chance.random() < 0.15:
        content = _damaged(chance, content)
    told = chance.choice(TYPES) if chance.random() < 0.15 else media_type
    reference = chance.choice(REFERENCES) if chance.random() < 0.15 else chance.choice((None, "tag"))
    return Attempt(reference, told, content)


def _sound(chance: random.Random, held: Held) -> tuple[str, Any]:
    kind = chance.choice((OCI_IMAGE, DOCKER_IMAGE, OCI_INDEX, DOCKER_LIST, OCI_ARTIFACT, ORAS_ARTIFACT))
    document: dict[str, Any] = {"mediaType": kind, "annotations": {"made": str(chance.random())}}
    if kind in (OCI_IMAGE, DOCKER_IMAGE):
        config, *layers = (_blob(chance, held) for _ in range(chance.choice((1, 2, 4, 40))))
        document |= {"schemaVersion": 2, "config": {**config, "mediaType": OCI_CONFIG}, "layers": layers}
    elif kind in (OCI_INDEX, DOCKER_LIST):
        children = [_manifest(chance, held) for _ in range(chance.choice((0, 1, 3)))]
        document |= {"schemaVersion": 2, "manifests": children}
    else:
        blobs = [_blob(chance, held) for _ in range(chance.choice((0, 1, 3)))]
        document |= {"artifactType": "application/x-test", "blobs": blobs}
    if chance.random() < 0.4:
        document["subject"] = _manifest(chance, held)
    if chance.random() < 0.2:
        document["artifactType"] = "application/x-test"
    return kind, document


def _blob(chance: random.Random, held: Held) -> dict[str, Any]:
    digest, size = chance.choice(list(held.blobs.items()))
    return {"mediaType": OCI_LAYER, "digest": digest, "size": size}


def _manifest(chance: random.Random, held: Held) -> dict[str, Any]:
    if chance.random() < 0.2:
        return {"mediaType": OCI_IMAGE, "digest": random_digest(), "size": 7}
    digest, (media_type, size) = chance.choice(list(held.manifests.items()))
    return {"mediaType": media_type, "digest": digest, "size": size}


def _spoil(chance: random.Random, document: Any) -> None:
    """Change one place, anywhere in the tree."""
    places: list[tuple[Any, Any]] = []

    def look(node: Any) -> None:
        entries = (
            node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        )
        for key, value in entries:
            places.append((node, key))
            look(value)

    look(document)
    if not places:
        return
    node, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[chance.choice(KEYS)] = node.pop(key)
        case 2 if isinstance(node, dict):
            node[chance.choice(KEYS)] = deepcopy(chance.choice(VALUES))
        case 3:
            other, place = chance.choice(places)
            node[key] = json.loads(json.dumps(other[place]))
        case 4 if isinstance(node, list):
            node.extend(deepcopy(node[key]) for _ in range(chance.choice((1, 3, 300))))
        case _:
            node[key] = deepcopy(chance.choice(VALUES))


def _written(chance: random.Random, document: Any) -> bytes:
    """The document in JSON, or in something like it."""
    text = json.dumps(document, ensure_ascii=chance.random() < 0.8, indent=chance.choice((None, None, 3)))
    ways: tuple[Callable[[str], str], ...] = (
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: text + chance.choice(("\n", " " * 5000, "x", "{}", "\x00", ",")),
        lambda text: text.replace("{", '{"mediaType":"x",', chance.choice((1, 2))),
        lambda text: text.replace("{", '{"size":1,"size":2,', 2),
        lambda text: text.replace(":", ": NaN,", 1),
        lambda text: text.replace('"', "'"),
        lambda text: text.replace("2", "2" * 5000, 1),
        lambda text: f"[{text}]",
        lambda text: json.dumps(text),
        lambda text: text[:-1] + ',"a":' + "[" * 500 + "]" * 500 + "}",
        lambda text: text[:-1] + ',"a":' + "[" * 100_000 + "}",
        lambda text: text[:-1] + ',"a":"' + "\\ud800" * 10 + '"}',
        lambda _: "",
        lambda _: chance.choice(("null", "0", '""', "[]", "{}", "true", "-", "{", '{"', "[" * 100_000)),
    )
    way = ways[0] if chance.random() < 0.8 else chance.choice(ways)
    encoding = "utf-8" if chance.random() < 0.95 else chance.choice(("utf-16", "utf-32", "utf-7"))
    return way(text).encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")


def _damaged(chance: random.Random, content: bytes) -> bytes:
    data = bytearray(content or b" ")
    for _ in range(chance.choice((1, 2, 10))):
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                data[place:place] = data[place : place + 40]
            case _:
                data = data[: max(1, place)]
    return bytes(data)
