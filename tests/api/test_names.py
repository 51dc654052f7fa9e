"""Names of repositories and tags, of every kind (dist-spec: Pulling manifests)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.contents import artifact, digest_of, image, index, random_digest
from tests.api.registry import Registry
from tests.api.server import Server

MALFORMED = {
    "capitals": "Upper",
    "capitals inside": "a/bB",
    "an empty part": "a//b",
    "a slash at the end": "a/b/",
    "a slash first": "/a",
    "dots": "..",
    "a dot": ".",
    "dots inside": "a/../b",
    "escaped dots": "%2e%2e",
    "escaped dots and slashes": "a%2f%2e%2e%2fb",
    "dots in a row": "a..b",
    "three underscores": "a___b",
    "an underscore first": "_a",
    "our own word": "_moorage",
    "layers": "a/_layers",
    "uploads": "a/_uploads/b",
    "a dash first": "-a",
    "a dash last": "a-",
    "a dot last": "a.",
    "NUL": "a%00b",
    "a line feed last": "a%0A",
    "a line feed": "a%0Ab",
    "a carriage return": "a%0D%0Ab",
    "a tab": "a%09b",
    "a space": "a%20b",
    "a backslash": "a%5Cb",
    "a colon": "a:b",
    "a digest sign": "a@b",
    "a percent sign": "a%25b",
    "half an escape": "a%zz",
    "not ASCII": "%C3%A4",
    "not UTF-8": "a%FFb",
    "digits of another script": "a%D9%A3",
    "a star": "*",
    "256 characters": "a" * 256,
    "300 characters": "a" * 300,
    "8000 characters": "a" * 8000,
    "300 parts": "/".join(["a"] * 300),
}
WORDS = [
    "manifests",
    "blobs",
    "uploads",
    "tags",
    "referrers",
    "list",
    "catalog",
    "v2",
    "blobs/uploads",
    "a/blobs/uploads",
    "tags/list",
    "manifests/latest",
    "library/manifests",
    "a/referrers",
    "a/blobs",
    "uploads/blobs",
    "v2/v2",
    "docker/registry/v2",
    "a--b/c__d/e.f/0",
]
BAD_TAGS = {
    "a dot first": ".a",
    "a dash first": "-a",
    "a dot": ".",
    "dots": "..",
    "escaped dots": "%2e%2e",
    "129 characters": "a" * 129,
    "300 characters": "a" * 300,
    "NUL": "a%00",
    "a line feed": "a%0A",
    "a space": "a%20",
    "a plus": "1.0%2Bx",
    "not ASCII": "%C3%A4",
    "a slash": "a%2Fb",
    "nothing": "",
    "a star": "*",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Server:
    """A server whose whole store the tests look at."""
    folder = tmp_path_factory.mktemp("names")
    server = Server(folder / "data", folder)
    request.addfinalizer(server.stop)
    return server


def everything(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*")}


@pytest.mark.parametrize("kind", MALFORMED)
def test_names_that_cannot_be(own: Server, kind: str) -> None:
    """trap 58"""
    name = MALFORMED[kind]
    before = everything(own.root)
    digest = digest_of(b"x")
    made = index()
    requests = [
        ("GET", "manifests/latest", None),
        ("HEAD", "manifests/latest", None),
        ("PUT", "manifests/latest", made.data),
        ("PUT", f"manifests/{made.digest}", made.data),
        ("DELETE", "manifests/latest", None),
        ("GET", f"blobs/{digest}", None),
        ("DELETE", f"blobs/{digest}", None),
        ("POST", "blobs/uploads/", None),
        ("POST", f"blobs/uploads/?digest={digest}", b"x"),
        ("POST", f"blobs/uploads/?mount={digest}&from=a", None),
        ("PATCH", "blobs/uploads/00000000-0000-4000-8000-000000000000", b"x"),
        ("GET", "tags/list", None),
        ("GET", f"referrers/{digest}", None),
    ]
    for method, rest, body in requests:
        headers = {"Content-Type": made.media_type} if method == "PUT" else {}
        answer = own.registry.ask(method, f"/v2/{name}/{rest}", headers, body)
        assert answer.status in (400, 404), (method, rest, answer)
        if method != "HEAD":
            assert answer.codes[0] in ("NAME_INVALID", "NOT_FOUND", "TAG_INVALID"), (method, rest, answer)
    assert everything(own.root) == before


def test_the_usual_mistake_is_named(own: Server) -> None:
    """trap 58"""
    assert own.registry.ask("GET", "/v2/Foo/manifests/x").refuses(400, "NAME_INVALID")


@pytest.mark.parametrize("name", WORDS)
def test_names_made_of_our_own_words(own: Server, name: str) -> None:
    """trap 57"""
    repository = own.repository(name)
    for tag in ("latest", "manifests", "list", "uploads", "referrers"):
        made = repository.push(image(), tag)
        assert repository.get(tag).body == made.data
    subject = repository.push(image())
    signature = repository.push(artifact("application/vnd.example", subject.descriptor()))
    assert repository.referrers(subject.digest) == [signature.digest]
    assert "latest" in repository.tags()
    blob = os.urandom(10)
    patched = own.registry.ask("PATCH", repository.begin(), body=blob)
    assert repository.close(patched["Location"], digest_of(blob)).status == 201
    assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    assert name in own.registry.ask("GET", "/v2/_catalog").json()["repositories"]
    assert repository.ask("DELETE", "manifests/latest").status == 202
    assert repository.ask("DELETE", f"blobs/{digest_of(blob)}").status == 202


def test_names_that_contain_each_other(own: Server) -> None:
    names = ["n", "n/n", "n/n/n", "n/n/manifests"]
    made = {name: own.repository(name).push(image(), "latest") for name in names}
    for name in names:
        assert own.repository(name).get("latest").body == made[name].data
        assert own.repository(name).tags() == ["latest"]
    own.repository("n").ask("DELETE", f"manifests/{made['n'].digest}")
    assert own.repository("n/n").get("latest").body == made["n/n"].data


@pytest.mark.parametrize("kind", BAD_TAGS)
def test_tags_that_cannot_be(own: Server, kind: str) -> None:
    """trap 87"""
    tag = BAD_TAGS[kind]
    repository = own.repository("tags-that-cannot-be")
    before = everything(own.root)
    made = index()
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        body = made.data if method == "PUT" else None
        answer = repository.ask(method, f"manifests/{tag}", {"Content-Type": made.media_type}, body)
        assert answer.status in (400, 404), (method, answer)
        if method != "HEAD":
            assert answer.codes[0] in ("TAG_INVALID", "NOT_FOUND", "NAME_INVALID"), (method, answer)
    assert everything(own.root) == before


def test_tags_that_differ_in_case(own: Server) -> None:
    """trap 87"""
    repository = own.repository("cases")
    lower, upper = repository.push(image(), "latest"), repository.push(image(), "Latest")
    assert repository.get("latest").body == lower.data
    assert repository.get("Latest").body == upper.data
    assert repository.tags() == ["Latest", "latest"]
    repository.ask("DELETE", "manifests/Latest")
    assert repository.tags() == ["latest"]


@pytest.mark.parametrize(
    "tag", ["a" * 128, "_", "0", "_.-", "A.b-C_d", "sha256-" + "0" * 64 + ".sig", "list"]
)
def test_tags_at_the_edge(own: Server, tag: str) -> None:
    """trap 87"""
    repository = own.repository("edges")
    made = repository.push(image(), tag)
    assert repository.get(tag).body == made.data
    assert tag in repository.tags()
    assert repository.ask("DELETE", f"manifests/{tag}").status == 202


@pytest.mark.parametrize("name", ["a" * 255, "/".join(["ab"] * 85), "/".join(["a"] * 128)])
def test_the_longest_names(own: Server, name: str) -> None:
    """trap 88"""
    assert len(name) == 255 or name.startswith("ab")
    repository = own.repository(name)
    tag = "t" * 128
    made = repository.push(image(algorithm="sha512"), algorithm="sha512")
    assert repository.put(made, digest_of(made.data, "sha512"), f"?tag={tag}").status == 201
    assert repository.get(tag).body == made.data
    assert repository.tags() == [tag]
    assert name in own.registry.ask("GET", "/v2/_catalog").json()["repositories"]
    mounted = own.repository("longest-target").ask(
        "POST", f"blobs/uploads/?mount={digest_of(made.blobs[0], 'sha512')}&from={name}"
    )
    assert mounted.status == 201
    assert repository.ask("DELETE", f"manifests/{tag}").status == 202
    assert repository.get(tag).status == 404


def test_a_name_too_long_by_one(own: Server) -> None:
    """trap 88"""
    assert own.registry.ask("GET", f"/v2/{'a' * 256}/tags/list").refuses(400, "NAME_INVALID")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd",
        "/v2/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/v2/a/blobs/..%2f..%2f..%2fetc%2fpasswd",
        "/v2/a/manifests/..%2f..%2f..%2f..%2f_moorage%2fv1%2fformat",
        "/v2/a/blobs/sha256:..%2f..%2fformat",
        "/v2/a/blobs/sha256%3A%2e%2e",
        "/v2/_moorage/v1/format",
        "/../etc/passwd",
        "//v2/",
    ],
)
def test_nothing_outside_is_ever_served(registry: Registry, path: str) -> None:
    answer = registry.ask("GET", path)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body


def test_a_digest_with_a_path_in_it(registry: Registry) -> None:
    for rest in ("../x", "..%2Fx", "x" * 300, random_digest() + "/data", random_digest() + "%0A"):
        answer = registry.ask("GET", f"/v2/a/blobs/sha256:{rest}")
        assert answer.status in (400, 404)
        assert answer.codes
