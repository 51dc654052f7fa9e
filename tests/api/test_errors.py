"""Errors: always a document, decided as early as they can be (dist-spec: Error Codes)."""

from __future__ import annotations

import os
import re

import pytest

from tests.api.client import Headers
from tests.api.contents import OCI_IMAGE, digest_of, image, random_digest
from tests.api.registry import Registry, Repository

UNKNOWN = "00000000-0000-4000-8000-000000000000"
DIGEST = digest_of(b"errors")
REQUESTS: list[tuple[int, str, str]] = [
    (404, "GET", "/v2/x"),
    (404, "GET", "/v2/a/b"),
    (404, "GET", "/v2/a/b/c/d"),
    (404, "GET", "/v2//"),
    (404, "GET", "/v2/_catalog/x"),
    (404, "GET", "/v2/a/tags/other"),
    (404, "GET", "/v2/a/manifests/latest/x"),
    (404, "GET", "/v2/a/_oci/ext/discover"),
    (405, "POST", "/v2/"),
    (405, "PUT", "/v2/_catalog"),
    (405, "DELETE", "/v2/a/tags/list"),
    (405, "POST", "/v2/a/manifests/latest"),
    (405, "PATCH", "/v2/a/manifests/latest"),
    (405, "PUT", f"/v2/a/blobs/{DIGEST}"),
    (405, "GET", "/v2/a/blobs/uploads/"),
    (405, "DELETE", "/v2/a/blobs/uploads/"),
    (405, "POST", f"/v2/a/blobs/uploads/{UNKNOWN}"),
    (405, "PUT", f"/v2/a/referrers/{DIGEST}"),
    (405, "OPTIONS", "/v2/"),
    (405, "BREW", "/v2/a/manifests/latest"),
    (400, "GET", "/v2/A/manifests/latest"),
    (400, "GET", "/v2/a/manifests/-x"),
    (400, "GET", "/v2/a/manifests/sha256:x"),
    (400, "GET", "/v2/a/tags/list?n=x"),
    (400, "GET", "/v2/a/referrers/x"),
    (404, "GET", f"/v2/a/blobs/{DIGEST}"),
    (404, "GET", f"/v2/a/blobs/uploads/{UNKNOWN}"),
    (404, "DELETE", "/v2/a/manifests/missing"),
]


@pytest.mark.parametrize(("status", "method", "target"), REQUESTS)
def test_every_error_is_a_document(registry: Registry, status: int, method: str, target: str) -> None:
    """trap 70, trap 81"""
    answer = registry.ask(method, target)
    if method == "BREW":
        # The HTTP parser may know methods better than we do, and refuse this one as no HTTP at all.
        assert answer.status in (400, 405)
        return
    assert answer.status == status, answer
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Length"] == str(len(answer.body))
    for entry in answer.json()["errors"]:
        assert re.fullmatch(r"[A-Z_]+", entry["code"])
        assert entry["message"]
        assert set(entry) <= {"code", "message", "detail"}
    assert answer.codes
    assert answer.get("Docker-Content-Digest") is None
    if status == 405:
        assert method not in answer["Allow"].split(", ")
        assert answer["Allow"]


@pytest.mark.parametrize("target", [target for _, method, target in REQUESTS if method == "GET"])
def test_head_gets_no_document(registry: Registry, target: str) -> None:
    """trap 70"""
    with registry.connect() as connection:
        connection.begin("HEAD", target)
        answer = connection.answer()
        assert answer.status >= 400
        assert answer.body == b""
        assert answer.get("Docker-Content-Digest") is None
        # Nothing of a body came: the next answer begins where this one ended.
        connection.begin("GET", "/v2/")
        assert connection.answer().status == 200


def test_allow_names_what_works(registry: Registry) -> None:
    allowed = {
        "/v2/": {"GET", "HEAD"},
        "/v2/_catalog": {"GET", "HEAD"},
        "/v2/a/tags/list": {"GET", "HEAD"},
        "/v2/a/manifests/x": {"GET", "HEAD", "PUT", "DELETE"},
        f"/v2/a/blobs/{DIGEST}": {"GET", "HEAD", "DELETE"},
        "/v2/a/blobs/uploads/": {"POST"},
        f"/v2/a/blobs/uploads/{UNKNOWN}": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
    }
    for path, methods in allowed.items():
        answer = registry.ask("OPTIONS", path)
        assert answer.status == 405
        assert set(answer["Allow"].split(", ")) == methods


def test_the_digest_of_what_was_refused_is_not_told(repository: Repository) -> None:
    """trap 81"""
    blob = repository.push_blob(b"told")
    refused = [
        repository.put(image(), "broken"),
        repository.close(repository.begin(), random_digest(), b"x"),
        repository.ask("POST", f"blobs/uploads/?digest={random_digest()}", body=b"x"),
        repository.ask("POST", f"blobs/uploads/?mount={random_digest()}&from=nowhere"),
        repository.ask("GET", f"blobs/{random_digest()}"),
        repository.ask("GET", f"blobs/{blob}", {"Range": "bytes=99-"}),
    ]
    for answer in refused:
        assert answer.status >= 400 or answer.status == 202
        assert answer.get("Docker-Content-Digest") in (None, blob if answer.status == 416 else None)


def test_a_message_says_what_and_what_to_do(repository: Repository) -> None:
    [entry] = repository.get("missing").json()["errors"]
    assert entry["detail"]
    [entry] = repository.registry.ask("GET", "/v2/Foo/tags/list").json()["errors"]
    assert "Foo" in entry["message"]


def test_a_hostile_name_is_quoted(registry: Registry) -> None:
    answer = registry.ask("GET", "/v2/%1B%5B2J%3Cscript%3E/tags/list")
    assert answer.status == 400
    assert b"\x1b" not in answer.body
    long = registry.ask("GET", f"/v2/{'A' * 8000}/tags/list")
    assert len(long.body) < 1000


SHORT = {"Content-Length": "1000"}
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8"
WITHOUT_READING: dict[str, tuple[int, str, str, Headers]] = {
    "a bad name": (400, "PUT", "/v2/BAD/manifests/latest", {"Content-Type": OCI_IMAGE}),
    "a bad tag": (400, "PUT", "{}/manifests/-x", {"Content-Type": OCI_IMAGE}),
    "a bad digest": (400, "PUT", "{}/manifests/sha256:x", {"Content-Type": OCI_IMAGE}),
    "a type that is no manifest's": (
        400,
        "PUT",
        "{}/manifests/latest",
        {"Content-Type": "text/html", **SHORT},
    ),
    "schema 1": (400, "PUT", "{}/manifests/latest", {"Content-Type": SCHEMA1, **SHORT}),
    "a signed type of schema 1": (
        400,
        "PUT",
        "{}/manifests/latest",
        {"Content-Type": SCHEMA1_SIGNED, **SHORT},
    ),
    "a manifest beyond the limit": (413, "PUT", "{}/manifests/latest", {"Content-Type": OCI_IMAGE}),
    "no endpoint": (404, "PUT", "/v2/nothing", {}),
    "the wrong method": (405, "POST", "{}/manifests/latest", {}),
    "no session": (404, "PATCH", f"{{}}/blobs/uploads/{UNKNOWN}", {}),
    "no session to close": (404, "PUT", f"{{}}/blobs/uploads/{UNKNOWN}?digest={DIGEST}", {}),
    "no digest to close with": (400, "PUT", "{session}", {}),
    "a bad digest to close with": (400, "PUT", "{session}?digest=md5:0", {}),
    "the wrong place": (416, "PATCH", "{session}", {"Content-Range": "5-1073741828"}),
    "the wrong place to close at": (
        416,
        "PUT",
        f"{{session}}?digest={DIGEST}",
        {"Content-Range": "5-1073741828"},
    ),
    "a length that is not the place's": (400, "PATCH", "{session}", {"Content-Range": "0-9"}),
    "a bad digest to push": (400, "POST", "{}/blobs/uploads/?digest=sha256:x", {}),
    "a bad digest to mount": (400, "POST", "{}/blobs/uploads/?mount=x&from=a", {}),
    "a foreign host": (403, "PATCH", "{session}", {"Host": "rebound.example"}),
}


@pytest.mark.parametrize("case", WITHOUT_READING)
def test_what_can_be_refused_is_refused_before_the_body(repository: Repository, case: str) -> None:
    """The body never comes, and the answer does."""
    status, method, target, headers = WITHOUT_READING[case]
    target = target.replace("{session}", repository.begin()).replace("{}", f"/v2/{repository.name}")
    told = {"Content-Length": str(1 << 30), **dict(headers)}
    with repository.registry.connect() as connection:
        connection.begin(method, target, told)
        answer = connection.answer()
    assert answer.status == status, answer
    assert answer.codes


def test_an_early_refusal_reaches_a_client_that_goes_on_sending(repository: Repository) -> None:
    body = os.urandom(8 << 20)
    answer = repository.registry.ask("PATCH", "/v2/BAD/blobs/uploads/x", body=body)
    assert answer.refuses(400, "NAME_INVALID")


@pytest.mark.parametrize("head", ["nonsense\r\n\r\n", "GET /v2/ HTTP/1.1\r\nbad header\r\n\r\n"])
def test_what_does_not_parse_is_refused(registry: Registry, head: str) -> None:
    with registry.connect() as connection:
        connection.send(head.encode())
        assert connection.answer().status == 400
    assert registry.ask("GET", "/v2/").status == 200
