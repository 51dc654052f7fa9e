"""Manifests that two readers could understand differently, or that break image-spec."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.api import contents
from tests.api.conftest import Serve
from tests.api.contents import Manifest, descriptor, image, index
from tests.api.registry import Repository
from tests.api.tree import Tree

BLOB = b"a layer"
CONFIG = b"{}"
GOOD = image([BLOB], config=CONFIG)
FIELDS: dict[str, Any] = json.loads(GOOD.data)
LAYER: dict[str, Any] = FIELDS["layers"][0]


def changed(**fields: Any) -> bytes:
    return json.dumps({**FIELDS, **fields}).encode()


def with_layer(**fields: Any) -> bytes:
    """The image, its layer's descriptor changed; None takes a field out."""
    layer = {key: value for key, value in {**LAYER, **fields}.items() if value is not None}
    return changed(layers=[layer])


def replaced(old: str, new: str) -> bytes:
    text = GOOD.data.decode()
    assert old in text
    return text.replace(old, new, 1).encode()


def nested(depth: int) -> bytes:
    """The image with something of its own that is so many levels deep, the manifest itself counted."""
    return replaced('{"schemaVersion"', '{"x":' + "[" * (depth - 1) + "]" * (depth - 1) + ',"schemaVersion"')


BAD: dict[str, bytes] = {
    "nothing": b"",
    "white space": b"  \n",
    "not JSON": b"{'schemaVersion': 2}",
    "half": GOOD.data[:-10],
    "two documents": GOOD.data + GOOD.data,
    "something behind": GOOD.data + b"x",
    "a list": b"[]",
    "a number": b"2",
    "null": b"null",
    "a text": b'"manifest"',
    "not UTF-8": replaced('"schemaVersion"', '"x":"?","schemaVersion"').replace(b"?", b"\xff\xfe"),
    "UTF-16": GOOD.data.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.data,
    "half a surrogate pair": replaced('{"schemaVersion"', '{"x":"\\ud800","schemaVersion"'),
    "a raw control character": replaced('{"schemaVersion"', '{"x":"\x01","schemaVersion"'),
    "a comment": replaced("{", "{/* hi */"),
    "a comma at the end": GOOD.data[:-1] + b",}",
    "a repeated key": replaced('"schemaVersion":2', '"schemaVersion":2,"schemaVersion":2'),
    "repeated layers": replaced('{"schemaVersion":2', '{"layers":[],"schemaVersion":2'),
    "a repeated key, escaped": replaced('{"schemaVersion":2', '{"l\\u0061yers":[],"schemaVersion":2'),
    "a repeated key inside": replaced(
        '{"mediaType":"application/vnd.oci.image.layer',
        '{"size":1,"mediaType":"application/vnd.oci.image.layer',
    ),
    "a repeated key in annotations": replaced(
        '{"schemaVersion"', '{"annotations":{"a":"1","a":"2"},"schemaVersion"'
    ),
    "a repeated key somewhere deep": replaced(
        '{"schemaVersion"', '{"x":{"y":[{"z":1,"z":1}]},"schemaVersion"'
    ),
    "a field in another case": replaced('{"schemaVersion"', '{"Layers":[],"schemaVersion"'),
    "only in another case": replaced('"layers"', '"LAYERS"'),
    "mediaType in another case": replaced('{"schemaVersion"', '{"mediatype":"a/b","schemaVersion"'),
    "a descriptor's field in another case": with_layer(Digest="sha256:" + "0" * 64),
    "a subject in another case": changed(Subject=LAYER),
    "a letter that folds to another": replaced('{"schemaVersion"', '{"\u017fubject":{},"schemaVersion"'),
    "layers and manifests": changed(manifests=[]),
    "config and manifests": json.dumps({"schemaVersion": 2, "config": LAYER, "manifests": [LAYER]}).encode(),
    "too deep": nested(65),
    "very deep": b"[" * 100_000 + b"]" * 100_000,
    "deep and open": b'{"a":' * 100_000,
    "NaN": replaced('{"schemaVersion"', '{"x":NaN,"schemaVersion"'),
    "infinity": replaced('{"schemaVersion"', '{"x":-Infinity,"schemaVersion"'),
    "beyond all bounds": replaced('{"schemaVersion"', '{"x":1e999,"schemaVersion"'),
    "a huge number": replaced('{"schemaVersion"', '{"x":' + "9" * 100_000 + ',"schemaVersion"'),
    "a huge fraction": replaced('{"schemaVersion"', '{"x":0.' + "9" * 100_000 + ',"schemaVersion"'),
    "no version": changed(schemaVersion=None),
    "version 3": changed(schemaVersion=3),
    "version 2.0": replaced('"schemaVersion":2', '"schemaVersion":2.0'),
    "version '2'": changed(schemaVersion="2"),
    "version true": changed(schemaVersion=True),
    "no config": changed(config=None),
    "a config that is a text": changed(config="x"),
    "layers that are no list": changed(layers={}),
    "layers of texts": changed(layers=["sha256:x"]),
    "a layer that is null": changed(layers=[None]),
    "annotations that are no texts": changed(annotations={"a": 1}),
    "annotations that are a list": changed(annotations=[]),
    "a mediaType that is a number": changed(mediaType=2),
    "a mediaType with parameters": changed(mediaType=contents.OCI_IMAGE + "; charset=utf-8"),
    "an artifactType that is a list": changed(artifactType=[]),
    "an artifactType that is no type": changed(artifactType="no type"),
    "a subject that is a text": changed(subject="sha256:" + "0" * 64),
    "a subject without a digest": changed(subject={"mediaType": "a/b", "size": 1}),
    "a negative size": with_layer(size=-1),
    "a size that is a text": with_layer(size="7"),
    "a size that is a fraction": with_layer(size=7.5),
    "a size that is 7.0": with_layer(size=7.0),
    "a size that is true": with_layer(size=True),
    "a size beyond int64": with_layer(size=2**63),
    "no size": with_layer(size=None),
    "no digest": with_layer(digest=None),
    "no mediaType": with_layer(mediaType=None),
    "an empty mediaType": with_layer(mediaType=""),
    "a digest that is none": with_layer(digest="sha256:xyz"),
    "a digest in capitals": with_layer(digest="sha256:" + "A" * 64),
    "a digest without algorithm": with_layer(digest="0" * 64),
    "a digest with a path": with_layer(digest="sha256:../../x"),
    "a digest with a line feed": with_layer(digest=LAYER["digest"] + "\n"),
    "a digest that is a number": with_layer(digest=5),
    "urls that are a text": with_layer(urls="http://127.0.0.1/"),
    "urls of numbers": with_layer(urls=[1]),
    "a descriptor's annotations that are no texts": with_layer(annotations={"a": []}),
    "data that is no base64": with_layer(data="@@@@"),
    "data of another size": with_layer(data="eA=="),
    "a platform that is a text": with_layer(platform="linux/amd64"),
}


@pytest.fixture
def ready(repository: Repository) -> Repository:
    """A repository that lacks nothing but the manifest."""
    repository.push_blob(BLOB)
    repository.push_blob(CONFIG)
    return repository


@pytest.mark.parametrize("case", BAD)
def test_a_manifest_that_nobody_should_read(ready: Repository, case: str) -> None:
    made = Manifest(BAD[case], contents.OCI_IMAGE)
    for reference in ("latest", made.digest):
        answer = ready.put(made, reference)
        assert answer.refuses(400, "MANIFEST_INVALID")
        assert len(answer.body) < 2000
    assert ready.get("latest").status == 404
    assert ready.get(made.digest).status == 404


@pytest.mark.parametrize("case", BAD)
def test_it_is_no_index_either(ready: Repository, case: str) -> None:
    data = BAD[case].replace(contents.OCI_IMAGE.encode(), contents.OCI_INDEX.encode())
    assert ready.put(Manifest(data, contents.OCI_INDEX), "latest").refuses(400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "child",
    [
        {"mediaType": contents.OCI_IMAGE, "size": -1, "digest": "sha256:" + "0" * 64},
        {"mediaType": contents.OCI_IMAGE, "size": 1, "digest": "sha256:x"},
        {"mediaType": contents.OCI_IMAGE, "size": 1},
        "sha256:" + "0" * 64,
        None,
        [],
    ],
)
def test_children_that_are_none(repository: Repository, child: Any) -> None:
    assert repository.put(index([child]), "latest").refuses(400, "MANIFEST_INVALID")


def test_what_is_wrong_is_named_with_its_place(ready: Repository) -> None:
    for case, place in {
        "a negative size": "layers[0].size",
        "a digest that is none": "layers[0].digest",
        "a repeated key": "schemaVersion",
        "a field in another case": "Layers",
        "NaN": "NaN",
    }.items():
        answer = ready.put(Manifest(BAD[case], contents.OCI_IMAGE), "latest")
        assert place in answer.json()["errors"][0]["message"], answer


def test_the_good_one_is_good(ready: Repository) -> None:
    """Else the others prove nothing."""
    assert ready.put(GOOD, "latest").status == 201
    for data in (
        nested(64),
        changed(x={"layers": [], "Layers": []}),
        with_layer(size=7),
        changed(other=1e300),
    ):
        assert ready.put(Manifest(data, contents.OCI_IMAGE), "latest").status == 201


def test_descriptors_of_algorithms_that_we_do_not_know(ready: Repository) -> None:
    """They are well formed; a subject or a child may be named by them, a layer cannot be here."""
    strange = {"mediaType": "a/b", "size": 1, "digest": "blake3:" + "0" * 64}
    assert ready.put(index([strange]), "index").status == 201
    assert ready.put(image([], config=CONFIG, layers=[strange])).refuses(400, "MANIFEST_BLOB_UNKNOWN")


def test_more_references_than_are_sound(ready: Repository) -> None:
    layer = descriptor(BLOB, contents.OCI_LAYER)
    answer = ready.put(image([], config=CONFIG, layers=[layer] * 10_001), "latest")
    assert answer.refuses(400, "MANIFEST_INVALID")


FOUND = {
    "not UTF-8": BAD["not UTF-8"],
    "NaN": BAD["NaN"],
    "a repeated key": BAD["a repeated key"],
    "too deep": BAD["too deep"],
    "a huge number": BAD["a huge number"],
    "not even JSON": b"not a manifest at all",
}


@pytest.mark.parametrize("case", FOUND)
def test_what_another_program_accepted_is_served(serve: Serve, tmp_path: Path, case: str) -> None:
    tree = Tree(tmp_path / "data")
    found = Manifest(FOUND[case], contents.OCI_IMAGE, (BLOB, CONFIG))
    tree.manifest("adopted", found, "latest")
    repository = serve(tree.root).repository("adopted")
    for reference in ("latest", found.digest):
        answer = repository.get(reference)
        assert (answer.status, answer.body) == (200, found.data)
        assert answer["Docker-Content-Digest"] == found.digest
        assert answer["Content-Type"].startswith("application/")
    assert repository.tags() == ["latest"]
    assert repository.referrers(found.digest) == []
    # Nobody can tell what such a manifest needs, so nothing of the repository goes.
    for blob in found.blobs:
        answer = repository.ask("DELETE", f"blobs/{contents.digest_of(blob)}")
        assert answer.refuses(405, "UNSUPPORTED")
    fresh = image([os.urandom(9)])
    repository.push(fresh, "fresh")
    assert repository.get("fresh").body == fresh.data


def test_a_tree_whose_type_is_a_page_is_no_page(serve: Serve, tmp_path: Path) -> None:
    """Whoever could write the tree must not reach the browsers of those who look at it."""
    tree = Tree(tmp_path / "data")
    page = Manifest(b'{"mediaType":"text/html","x":"<script>alert(1)</script>"}', "text/html")
    tree.manifest("adopted", page, "latest")
    answer = serve(tree.root).repository("adopted").get("latest")
    assert answer.status == 200
    assert "html" not in answer["Content-Type"]
