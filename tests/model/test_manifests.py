from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ManifestInvalid
from registry.model import media_types
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest, sniff_media_type
from registry.model.media_types import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    EMPTY,
    OCI_ARTIFACT,
    OCI_IMAGE,
    OCI_INDEX,
    ORAS_ARTIFACT,
)

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
Json = dict[str, Any]


def descriptor(content: bytes = b"layer", media_type: str = LAYER_TYPE, **more: object) -> Json:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def image(media_type: str | None = OCI_IMAGE, **more: object) -> Json:
    document: Json = {
        "schemaVersion": 2,
        "config": descriptor(b"{}", CONFIG_TYPE),
        "layers": [descriptor(b"1"), descriptor(b"2")],
        **more,
    }
    return document if media_type is None else {"mediaType": media_type, **document}


def index(media_type: str | None = OCI_INDEX, **more: object) -> Json:
    document: Json = {"schemaVersion": 2, "manifests": [descriptor(b"m", OCI_IMAGE)], **more}
    return document if media_type is None else {"mediaType": media_type, **document}


def artifact(media_type: str = OCI_ARTIFACT, **more: object) -> Json:
    return {"mediaType": media_type, "artifactType": "a/b", "blobs": [descriptor(b"blob")], **more}


def without(document: Json, *names: str) -> Json:
    return {name: value for name, value in document.items() if name not in names}


def parse(document: Json, content_type: str | None = None, **more: int) -> Manifest:
    return Manifest.parse(json.dumps(document).encode(), content_type, **more)


def refused(document: Json, message: str, content_type: str | None = None) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        parse(document, content_type)


# What it is


@pytest.mark.parametrize("media_type", sorted(media_types.MANIFESTS))
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "application/octet-stream",
        "application/json; charset=utf-8",
        "{}",
        "{};a=b",
    ],
)
def test_the_type_in_the_body_is_enough(media_type: str, content_type: str | None) -> None:
    make: Callable[[str], Json] = (
        image
        if media_type in media_types.IMAGES
        else index
        if media_type in media_types.INDEXES
        else artifact
    )
    told = None if content_type is None else content_type.format(media_type)
    assert parse(make(media_type), told).media_type == media_type


@pytest.mark.parametrize(
    ("document", "content_type", "expected"),
    [
        (image(None), OCI_IMAGE, OCI_IMAGE),
        (image(None), DOCKER_IMAGE, DOCKER_IMAGE),
        (image(None), OCI_IMAGE + "; charset=utf-8", OCI_IMAGE),
        (index(None), OCI_INDEX, OCI_INDEX),
        (index(None), DOCKER_LIST, DOCKER_LIST),
        (image(None), None, OCI_IMAGE),
        (without(image(None), "layers"), None, OCI_IMAGE),
        (image(None, manifests=None), None, OCI_IMAGE),
        (index(None), "application/json", OCI_INDEX),
        (index(None, manifests=[]), None, OCI_INDEX),
        (image(None, mediaType=None), None, OCI_IMAGE),
    ],
)
def test_the_type_of_a_body_that_does_not_say(
    document: Json, content_type: str | None, expected: str
) -> None:
    assert parse(document, content_type).media_type == expected


def test_a_type_that_differs_from_the_body_is_refused() -> None:
    both = f"Content-Type is '{re.escape(OCI_INDEX)}' and .* '{re.escape(OCI_IMAGE)}'"
    refused(image(), both, OCI_INDEX)
    refused(image(DOCKER_IMAGE), "Content-Type is", OCI_IMAGE)
    refused(image(), "Content-Type is", "text/plain")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x", CONFIG_TYPE, "\u00e9", "garbage\n", "*/*"]
)
def test_other_types_are_refused_with_those_accepted(content_type: str) -> None:
    refused(image(None), f"accepted are .*{re.escape(DOCKER_LIST)}", content_type)


def test_a_body_that_nothing_tells_what_it_is() -> None:
    refused({"schemaVersion": 2, "layers": []}, "tell what this is")
    refused({}, "tell what this is", "application/json")


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []}, DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1, "fsLayers": []}, DOCKER_SCHEMA1),
        ({"schemaVersion": 1, "fsLayers": []}, None),
        ({"schemaVersion": 1, "fsLayers": []}, "application/json"),
        ({"schemaVersion": 1, "mediaType": DOCKER_SCHEMA1, "fsLayers": []}, None),
        (image(schemaVersion=1), OCI_IMAGE),
        (image(None, schemaVersion=1), DOCKER_IMAGE),
    ],
)
def test_schema_1_is_refused(document: Json, content_type: str | None) -> None:
    refused(document, "schema 1 is not accepted", content_type)


@pytest.mark.parametrize("version", [None, "2", 2.0, 3, 0, -2, True, [], 2**70])
@pytest.mark.parametrize("make", [image, index])
def test_the_schema_version_is_2(make: Callable[[], Json], version: object) -> None:
    refused({**make(), "schemaVersion": version}, "schemaVersion must be the number 2")
    refused(without(make(), "schemaVersion"), "schemaVersion must be the number 2")


@pytest.mark.parametrize("media_type", [OCI_ARTIFACT, ORAS_ARTIFACT])
def test_artifacts_have_no_schema_version(media_type: str) -> None:
    assert parse(artifact(media_type)).media_type == media_type
    assert parse(artifact(media_type, schemaVersion=1)).media_type == media_type


@pytest.mark.parametrize("media_type", [7, [], {}, True, "", "x", "a/b c", "a/b\n", "a/b;c=d"])
def test_the_type_in_the_body_is_a_media_type(media_type: object) -> None:
    refused({**image(), "mediaType": media_type}, r"\$.mediaType must be", OCI_IMAGE)


@pytest.mark.parametrize(
    ("document", "content_type", "message"),
    [
        (image(manifests=[]), None, r"must not have \$.manifests"),
        (image(None, manifests=[]), OCI_IMAGE, r"must not have \$.manifests"),
        (image(None, manifests=[]), None, r"must not have \$.config"),
        (image(DOCKER_IMAGE, manifests=[descriptor()]), None, r"must not have \$.manifests"),
        (index(layers=[]), None, r"must not have \$.layers"),
        (index(config=descriptor()), None, r"must not have \$.config"),
        (index(DOCKER_LIST, config={}), None, r"must not have \$.config"),
        (artifact(manifests=[]), None, r"must not have \$.manifests"),
        (artifact(layers=[]), None, r"must not have \$.layers"),
        (image(None), OCI_INDEX, r"must not have \$.config"),
        (index(None), OCI_IMAGE, r"must not have \$.manifests"),
        (without(image(), "config"), None, r"\$.config, a descriptor, is required"),
        (image(config=None), None, r"\$.config, a descriptor, is required"),
        (without(artifact(), "mediaType"), ORAS_ARTIFACT, r"\$.mediaType is required"),
        (without(index(), "manifests"), None, r"\$.manifests, a list of descriptors, is required"),
    ],
)
def test_a_manifest_is_of_one_kind(document: Json, content_type: str | None, message: str) -> None:
    refused(document, message, content_type)


# What it says


def test_an_image() -> None:
    content = json.dumps(image(annotations={"k": "\u00e9"}, extra={"MediaType": [1]}), indent=3).encode()
    manifest = Manifest.parse(content, OCI_IMAGE)
    assert manifest.content is content
    assert not manifest.is_index
    assert manifest.config == Descriptor(CONFIG_TYPE, Digest.of(b"{}"), 2)
    assert manifest.layers == tuple(Descriptor(LAYER_TYPE, Digest.of(one), 1) for one in (b"1", b"2"))
    assert manifest.manifests == manifest.children == manifest.blobs == ()
    assert manifest.annotations == {"k": "\u00e9"}
    assert manifest.required_blobs == manifest.references == (manifest.config, *manifest.layers)
    assert manifest.subject is None
    assert manifest.artifact_type is None


def test_an_index() -> None:
    platform = {
        "os": "linux",
        "architecture": "arm",
        "variant": "v7",
        "os.features": ["x"],
        "os.version": "1",
    }
    manifest = parse(index(manifests=[descriptor(b"m", OCI_IMAGE, platform=platform), descriptor(b"layer")]))
    assert manifest.is_index
    assert [child.digest for child in manifest.children] == [Digest.of(b"m"), Digest.of(b"layer")]
    assert manifest.children[0].platform == platform
    assert manifest.references == manifest.children
    assert manifest.required_blobs == ()


@pytest.mark.parametrize("media_type", [OCI_ARTIFACT, ORAS_ARTIFACT])
def test_an_artifact(media_type: str) -> None:
    manifest = parse(artifact(media_type, subject=descriptor(b"subject", OCI_IMAGE)))
    assert manifest.required_blobs == manifest.references == manifest.blobs
    assert [blob.digest for blob in manifest.blobs] == [Digest.of(b"blob")]
    assert manifest.subject is not None
    assert manifest.subject.digest == Digest.of(b"subject")
    assert parse(without(artifact(media_type), "blobs")).blobs == ()


@pytest.mark.parametrize(
    "document",
    [
        image(layers=[]),
        image(layers=None),
        without(image(), "layers"),
        index(manifests=[]),
        index(manifests=None),
    ],
)
def test_lists_may_be_empty(document: Json) -> None:
    manifest = parse(document)
    assert manifest.layers == manifest.manifests == ()


@pytest.mark.parametrize("name", ["subject", "annotations", "artifactType", "mediaType"])
def test_optional_fields_may_be_null(name: str) -> None:
    parse({**image(), name: None}, OCI_IMAGE)


def test_nondistributable_layers_need_not_be_here_but_stay_when_they_are() -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document = image(DOCKER_IMAGE, layers=[descriptor(b"f", foreign, urls=["https://a/b"]), descriptor(b"1")])
    manifest = parse(document)
    assert [one.digest for one in manifest.required_blobs] == [Digest.of(b"{}"), Digest.of(b"1")]
    assert manifest.layers[0].urls == ("https://a/b",)
    assert manifest.layers[0] in manifest.references


def test_a_digest_that_cannot_be_held_is_required_but_keeps_nothing() -> None:
    blake3 = f"blake3:{'0' * 64}"
    manifest = parse(image(layers=[{**descriptor(), "digest": blake3}]))
    assert manifest.required_blobs[1].digest == Digest.parse(blake3)
    assert manifest.references == (manifest.config,)


def test_the_number_of_references_is_bounded() -> None:
    document = image(layers=[descriptor()] * 5)
    assert len(parse(document, max_references=5).layers) == 5
    with pytest.raises(ManifestInvalid, match="refers to 5 others; this registry takes at most 4"):
        parse(document, max_references=4)
    with pytest.raises(ManifestInvalid, match="refers to 10001 others"):
        parse(index(manifests=[{}] * 10_001))
    with pytest.raises(ManifestInvalid, match="refers to 10001 others"):
        parse(artifact(blobs=[{}] * 10_001))


# Descriptors

PLACES: list[tuple[str, Callable[[object], Json]]] = [
    (r"\$.config", lambda one: image(config=one)),
    (r"\$.layers\[1\]", lambda one: image(layers=[descriptor(), one])),
    (r"\$.manifests\[0\]", lambda one: index(manifests=[one])),
    (r"\$.blobs\[0\]", lambda one: artifact(blobs=[one])),
    (r"\$.subject", lambda one: index(subject=one)),
]
BAD_DESCRIPTORS: list[tuple[object, str]] = [
    ("text", "must be a descriptor"),
    (7, "must be a descriptor"),
    ([], "must be a descriptor"),
    (False, "must be a descriptor"),
    ({}, ".size must be"),
    (without(descriptor(), "size"), ".size must be"),
    (without(descriptor(), "digest"), ".digest must be a string"),
    (without(descriptor(), "mediaType"), ".mediaType is required"),
    (descriptor(size=-1), ".size must be"),
    (descriptor(size=2**63), ".size must be"),
    (descriptor(size=10**39), ".size must be"),
    (descriptor(size=5.0), ".size must be"),
    (descriptor(size="5"), ".size must be"),
    (descriptor(size=True), ".size must be"),
    (descriptor(size=None), ".size must be"),
    (descriptor(digest=None), ".digest must be a string"),
    (descriptor(digest=7), ".digest must be a string"),
    (descriptor(digest=""), ".digest: a digest is"),
    (descriptor(digest="sha256:abc"), ".digest: a sha256 digest is"),
    (descriptor(digest="sha256:" + "A" * 64), ".digest: a sha256 digest is"),
    (descriptor(digest="sha256:" + "0" * 64 + "\n"), ".digest: a sha256 digest is"),
    (descriptor(digest="x"), ".digest: a digest is"),
    (descriptor(digest="../..:/etc"), ".digest: a digest is"),
    (descriptor(media_type=""), ".mediaType must be a media type"),
    (descriptor(media_type="tar"), ".mediaType must be a media type"),
    (descriptor(media_type="a/b\n"), ".mediaType must be a media type"),
    (descriptor(mediaType=None), ".mediaType is required"),
    (descriptor(mediaType=[]), ".mediaType must be a string"),
    (descriptor(artifactType=7), ".artifactType must be a string"),
    (descriptor(artifactType="x"), ".artifactType must be a media type"),
    (descriptor(urls="https://a"), ".urls must be a list of strings"),
    (descriptor(urls=[7]), ".urls must be a list of strings"),
    (descriptor(urls=[None]), ".urls must be a list of strings"),
    (descriptor(annotations=[]), ".annotations must be an object"),
    (descriptor(annotations={"a": 1}), r".annotations\['a'\] must be a string"),
    (descriptor(annotations={"a": None}), r".annotations\['a'\] must be a string"),
    (descriptor(data=7), ".data must be a string"),
    (descriptor(data="!!!!"), ".data must be base64"),
    (descriptor(data="bGF5ZXI"), ".data must be base64"),
    (descriptor(data="bGF5\nZXI="), ".data must be base64"),
    (descriptor(data="\u00e9"), ".data must be base64"),
    (descriptor(data="bGF5ZXIx"), ".data holds 6 bytes, and .*.size says 5"),
    (descriptor(data=""), ".data holds 0 bytes"),
    (descriptor(platform="linux"), ".platform must be an object"),
    (descriptor(platform={"os": 7}), ".platform.os must be a string"),
    (descriptor(platform={"architecture": []}), ".platform.architecture must be a string"),
    (descriptor(platform={"os.version": 1}), ".platform.os.version must be a string"),
    (descriptor(platform={"variant": {}}), ".platform.variant must be a string"),
    (descriptor(platform={"os.features": "x"}), ".platform.os.features must be a list"),
    (descriptor(platform={"features": [1]}), ".platform.features must be a list"),
    (descriptor(platform={"OS": "linux"}), ".platform differs only in case from the field 'os'"),
    (descriptor(Digest="x"), "differs only in case from the field 'digest'"),
    (descriptor(SIZE=1), "differs only in case from the field 'size'"),
    (descriptor(Urls=[]), "differs only in case from the field 'urls'"),
]


@pytest.mark.parametrize(("path", "place"), PLACES, ids=[path for path, _ in PLACES])
@pytest.mark.parametrize(("one", "message"), BAD_DESCRIPTORS)
def test_descriptors_that_break_their_types(
    path: str, place: Callable[[object], Json], one: object, message: str
) -> None:
    refused(place(one), f"{path}.*{message}")


@pytest.mark.parametrize(
    "one",
    [
        descriptor(b""),
        descriptor(size=2**63 - 1),
        descriptor(digest="multihash+base58:Qm"),
        descriptor(digest=f"sha512:{'0' * 128}"),
        descriptor(data=base64.b64encode(b"layer").decode()),
        descriptor(b"", data=""),
        descriptor(urls=[], annotations={}, platform={}),
        descriptor(urls=None, annotations=None, platform=None, data=None, artifactType=None),
        descriptor(artifactType=""),
        descriptor(artifactType="a/b"),
        descriptor(platform={"os": "unknown", "architecture": "unknown", "os.features": None, "x": 7}),
        descriptor(annotations={"Digest": "x", "digest": "y", "": "", "\u00e9": "\u00e9"}),
        descriptor(unknown={"Digest": [1.5, None]}, digests=[]),
        descriptor(media_type="application/vnd.in-toto+json"),
    ],
)
def test_descriptors_within_their_types(one: Json) -> None:
    manifest = parse(image(layers=[one]))
    assert manifest.layers[0].size_bytes == one["size"]
    assert str(manifest.layers[0].digest) == one["digest"]


def test_a_descriptor_keeps_what_it_says() -> None:
    one = descriptor(
        data="bGF5ZXI=", artifactType="a/b", annotations={"k": "v"}, urls=["u"], platform={"os": "x"}
    )
    read = parse(index(manifests=[one])).manifests[0]
    assert read == Descriptor(
        LAYER_TYPE, Digest.of(b"layer"), 5, "a/b", {"k": "v"}, ("u",), "bGF5ZXI=", {"os": "x"}
    )


@pytest.mark.parametrize(
    "key", ["MediaType", "SchemaVersion", "Config", "LAYERS", "Manifests", "Subject", "layer\u017f"]
)
def test_keys_that_differ_only_in_case(key: str) -> None:
    refused(image(**{key: None}), r"at \$ differs only in case from the field")


@pytest.mark.parametrize("name", ["layers", "manifests", "blobs"])
@pytest.mark.parametrize("value", [{}, "x", 7, True])
def test_lists_are_lists(name: str, value: object) -> None:
    document = {"layers": image, "manifests": index, "blobs": artifact}[name]()
    refused({**document, name: value}, rf"\$.{name} must be a list")


@pytest.mark.parametrize("annotations", [[], "x", {"a": 1}, {"a": {}}])
def test_annotations_are_texts(annotations: object) -> None:
    refused(image(annotations=annotations), r"\$.annotations.* must be")


@pytest.mark.parametrize("artifact_type", [7, [], "x", "a/b\n"])
def test_the_artifact_type_is_a_media_type(artifact_type: object) -> None:
    refused(image(artifactType=artifact_type), r"\$.artifactType must be")


def test_the_strict_reading_of_json_is_used() -> None:
    with pytest.raises(ManifestInvalid, match="stands twice"):
        Manifest.parse(b'{"schemaVersion": 2, "schemaVersion": 2}', OCI_IMAGE)


# Referrers


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(artifactType="a/b"), "a/b"),
        (image(), CONFIG_TYPE),
        (image(artifactType=""), CONFIG_TYPE),
        (image(artifactType=None), CONFIG_TYPE),
        (image(config=descriptor(b"{}", EMPTY)), EMPTY),
        (image(config=descriptor(b"{}", EMPTY), artifactType="a/b"), "a/b"),
        (index(), None),
        (index(artifactType=""), None),
        (index(artifactType="a/b"), "a/b"),
        (artifact(), "a/b"),
        (without(artifact(), "artifactType"), None),
    ],
)
def test_the_artifact_type_of_a_referrer(document: Json, expected: str | None) -> None:
    manifest = parse({**document, "subject": descriptor()})
    assert manifest.referrer_artifact_type == expected
    digest = Digest.of(manifest.content)
    entry = manifest.referrer_descriptor(digest)
    assert entry.get("artifactType") == expected
    assert ("artifactType" in entry) == (expected is not None)
    assert entry["mediaType"] == document["mediaType"]
    assert entry["size"] == len(manifest.content)
    assert entry["digest"] == str(digest)
    assert "annotations" not in entry


def test_a_referrer_brings_its_annotations() -> None:
    manifest = parse(index(subject=descriptor(), annotations={"k": "v"}))
    entry = manifest.referrer_descriptor(Digest.of(manifest.content))
    assert entry["annotations"] == {"k": "v"}
    json.dumps(entry)


# Distribution


@pytest.mark.parametrize(
    ("document", "content_type", "expected"),
    [
        (image(), None, True),
        (image(DOCKER_IMAGE), None, True),
        (index(), None, True),
        (index(DOCKER_LIST), None, True),
        (index(manifests=None), None, True),
        (image(None), OCI_IMAGE, True),
        (image(None), None, True),
        (index(None), OCI_INDEX, True),
        (index(None, manifests=[]), OCI_INDEX, True),
        # Without a type it takes these for something else.
        (image(None), DOCKER_IMAGE, False),
        (index(None), DOCKER_LIST, False),
        (index(None, manifests=None), OCI_INDEX, False),
        (artifact(OCI_ARTIFACT), None, False),
        (artifact(ORAS_ARTIFACT), None, False),
    ],
)
def test_what_distribution_serves(document: Json, content_type: str | None, expected: bool) -> None:
    manifest = parse(document, content_type)
    assert manifest.served_by_distribution is expected
    if expected:
        assert sniff_media_type(manifest.content) == manifest.media_type


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps(image(DOCKER_IMAGE)).encode(), DOCKER_IMAGE),
        (json.dumps(artifact(ORAS_ARTIFACT)).encode(), ORAS_ARTIFACT),
        (b'{"mediaType": "%s", "MediaType": "%s"}' % (OCI_IMAGE.encode(), OCI_INDEX.encode()), OCI_INDEX),
        (b'{"mediaType": "application/x", "a": NaN}', "application/x"),
        (b'{"mediaType": "application/x", "a": "\xff"}', "application/x"),
        (b'{"mediaType": "application/x", "a": ' + b"9" * 9999 + b"}", "application/x"),
        (b'{"mediaType": "text/html"}', OCI_IMAGE),
        (b'{"mediaType": "application/x\\r\\nSet-Cookie: a"}', OCI_IMAGE),
        (b'{"mediaType": "application/\\u00e9"}', OCI_IMAGE),
        (b'{"mediaType": 7, "manifests": []}', OCI_INDEX),
        (b'{"Manifests": []}', OCI_INDEX),
        (b'{"manifests": null}', OCI_IMAGE),
        (b'{"schemaVersion": 2}', OCI_IMAGE),
        (b'{"schemaVersion": 1, "fsLayers": [], "signatures": []}', DOCKER_SCHEMA1_SIGNED),
        (b'{"schemaVersion": 1, "fsLayers": []}', DOCKER_SCHEMA1),
        (b"", "application/octet-stream"),
        (b"not json", "application/octet-stream"),
        (b"[" * 100_000, "application/octet-stream"),
    ],
)
def test_the_type_of_what_lies_in_a_store(content: bytes, expected: str) -> None:
    assert sniff_media_type(content) == expected


# Anything


@given(st.binary(), st.none() | st.text() | st.sampled_from(sorted(media_types.MANIFESTS)))
def test_any_bytes_are_a_manifest_or_refused(content: bytes, content_type: str | None) -> None:
    with pytest.raises(ManifestInvalid):
        Manifest.parse(content, content_type)
    assert sniff_media_type(content).isascii()


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([[], {}, -1, 2**63])
)
NAMES = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
]


@given(
    st.sampled_from([image(), image(None), image(DOCKER_IMAGE), index(), index(DOCKER_LIST), artifact()]),
    st.dictionaries(
        st.sampled_from(NAMES) | st.text(),
        SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from([*descriptor(), "urls", "data", "platform"]), SCALARS, max_size=2),
    st.sampled_from([None, *sorted(media_types.MANIFESTS)]),
)
def test_any_document_is_a_manifest_or_refused(
    document: Json, changed: Json, in_descriptor: Json, content_type: str | None
) -> None:
    document = {**document, "subject": {**descriptor(), **in_descriptor}, **changed}
    content = json.dumps(document).encode()
    try:
        manifest = Manifest.parse(content, content_type)
    except ManifestInvalid as error:
        assert error.message
    else:
        assert manifest.media_type in media_types.MANIFESTS
        assert set(manifest.references) <= {*manifest.required_blobs, *manifest.children, *manifest.layers}
        json.dumps(manifest.referrer_descriptor(Digest.of(content)))
    sniff_media_type(content)


@given(
    st.sampled_from(
        [image(), index(manifests=[descriptor(platform={"os": "linux"}, annotations={"a": "b"})])]
    ),
    st.randoms(use_true_random=False),
)
def test_a_manifest_with_a_byte_changed_is_one_or_refused(document: Json, chance: random.Random) -> None:
    content = bytearray(json.dumps(document).encode())
    content[chance.randrange(len(content))] = chance.randrange(256)
    try:
        assert Manifest.parse(bytes(content), None).content == content
    except ManifestInvalid as error:
        assert error.message
    sniff_media_type(bytes(content))
