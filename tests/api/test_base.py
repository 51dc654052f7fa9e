"""`/v2/`, and what every answer has in common."""

from __future__ import annotations

import pytest

from registry.server.settings import TimeoutSettings
from tests.api.client import Connection
from tests.api.conftest import Serve
from tests.api.contents import image, random_digest
from tests.api.registry import Registry, Repository, closing

UNKNOWN = "ns=docker.io&origin=a.example&account=me&_state=left-over"


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_the_base_says_that_this_is_a_registry(registry: Registry, path: str) -> None:
    answer = registry.ask("GET", path)
    assert answer.status == 200
    assert answer.json() == {}
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Length"] == "2"


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_head_of_the_base(registry: Registry, path: str) -> None:
    answer = registry.ask("HEAD", path)
    assert (answer.status, answer["Content-Length"], answer.body) == (200, "2", b"")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz"])
def test_probes_are_answered(registry: Registry, path: str) -> None:
    """With 503 too: `test_health.py`."""
    for method in ("GET", "HEAD"):
        assert registry.ask(method, path).status == 200
    assert registry.ask("POST", path).refuses(405, "UNSUPPORTED")


def test_the_first_version_of_the_protocol_is_not_here(registry: Registry) -> None:
    """podman asks /v1/search first and takes a plain 404 for no."""
    assert registry.ask("GET", "/v1/search?n=25&q=x").status == 404


def test_every_answer_carries_the_same_guard(repository: Repository) -> None:
    blob = repository.push_blob(b"guarded" * 100)
    repository.push(image(), "latest")
    location = repository.begin()
    registry = repository.registry
    answers = [
        registry.ask("GET", "/v2/"),
        registry.ask("GET", "/v2/_catalog"),
        registry.ask("GET", "/v2/nothing-here"),
        registry.ask("GET", "/v2/UPPER/manifests/x"),
        registry.ask("PUT", "/v2/"),
        repository.ask("GET", "tags/list"),
        repository.get("latest"),
        repository.get("missing"),
        repository.ask("HEAD", "manifests/latest"),
        repository.ask("HEAD", "manifests/missing"),
        repository.ask("GET", f"blobs/{blob}"),
        repository.ask("HEAD", f"blobs/{blob}"),
        repository.ask("GET", f"blobs/{blob}", {"Range": "bytes=1-2"}),
        repository.ask("GET", f"blobs/{blob}", {"Range": "bytes=1-2,4-5"}),
        repository.ask("GET", f"blobs/{blob}", {"Range": "bytes=9000-"}),
        repository.ask("GET", f"blobs/{blob}", {"If-None-Match": f'"{blob}"'}),
        repository.ask("GET", f"blobs/{random_digest()}"),
        repository.ask("GET", f"referrers/{blob}"),
        repository.ask("POST", "blobs/uploads/"),
        registry.ask("PATCH", location, body=b"x"),
        registry.ask("GET", location),
        registry.ask("DELETE", location),
        repository.put(image(), "broken"),
        registry.ask("GET", "/v2/", {"Host": "rebound.example"}),
        registry.ask("HEAD", "/v2/", {"Host": "rebound.example"}),
        repository.ask("POST", "blobs/uploads/", {"Origin": "http://rebound.example"}),
    ]
    assert [answer.status for answer in answers[-3:]] == [403, 403, 403]
    for answer in answers:
        assert answer["Docker-Distribution-Api-Version"] == "registry/2.0", answer
        assert answer["X-Content-Type-Options"] == "nosniff", answer
        assert "sandbox" in answer["Content-Security-Policy"], answer


@pytest.mark.parametrize(
    "sent", [b"<script>alert(1)</script>\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]
)
def test_what_is_no_request_gets_an_answer_that_no_browser_renders(registry: Registry, sent: bytes) -> None:
    with registry.connect() as connection:
        connection.send(sent)
        answer = connection.answer()
    assert answer.status == 400
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


def test_unknown_parameters_are_ignored_everywhere(repository: Repository, other: Repository) -> None:
    """trap 60"""
    made = image()
    registry = repository.registry
    for blob in made.blobs:
        location = repository.begin(f"?{UNKNOWN}")
        assert registry.ask("PATCH", f"{location}?{UNKNOWN}", body=blob).status == 202
        assert registry.ask("GET", f"{location}?{UNKNOWN}").status == 204
        digest = repository.push_blob(blob)
        assert registry.ask("PUT", f"{closing(location, digest)}&{UNKNOWN}").status == 201
        mounted = other.ask("POST", f"blobs/uploads/?mount={digest}&from={repository.name}&{UNKNOWN}")
        assert mounted.status == 201
        assert repository.ask("HEAD", f"blobs/{digest}?{UNKNOWN}").status == 200
        assert repository.ask("GET", f"blobs/{digest}?{UNKNOWN}").body == blob
    assert repository.put(made, "latest", f"?{UNKNOWN}").status == 201
    for method in ("GET", "HEAD"):
        assert repository.ask(method, f"manifests/latest?{UNKNOWN}").status == 200
    for rest in (f"tags/list?{UNKNOWN}", f"referrers/{made.digest}?{UNKNOWN}"):
        assert repository.ask("GET", rest).status == 200
    for path in (f"/v2/?{UNKNOWN}", f"/v2/_catalog?{UNKNOWN}"):
        assert registry.ask("GET", path).status == 200
    assert registry.ask("DELETE", f"{repository.begin()}?{UNKNOWN}").status == 204
    assert repository.ask("DELETE", f"manifests/latest?{UNKNOWN}").status == 202


def test_who_means_another_host_is_told_that_no_namespace_answers_for_it(serve: Serve) -> None:
    repository = serve(settings={"url": "https://registry.example:5000"}).repository("a")
    repository.push(image(), "v1")
    absent = (f"manifests/{random_digest()}", f"blobs/{random_digest()}", "tags/list")
    for rest in absent:
        at = repository if rest != "tags/list" else repository.registry.repository("none")
        answer = at.ask("GET", f"{rest}?ns=ghcr.io")
        message = answer.json()["errors"][0]["message"]
        assert answer.status == 404
        assert (
            "the client means 'ghcr.io' (ns), for which no namespace answers (mirrors[].answers_for)"
            in message
        )
        # Names of ours: of the configuration, and the one that was asked.
        for host in ("registry.example:5000", "registry.example", "127.0.0.1", ""):
            message = at.ask("GET", f"{rest}?ns={host}").json()["errors"][0]["message"]
            assert "namespace" not in message
    # It may be a name of ours all the same.
    assert repository.ask("GET", "manifests/v1?ns=mirror.example:5000").status == 200
    assert "namespace" not in str(repository.ask("DELETE", "manifests/none?ns=ghcr.io").json())


def test_a_connection_stays_open_longer_than_clients_keep_it(registry: Registry) -> None:
    """trap 80"""
    with registry.connect() as connection:
        for _ in range(3):
            connection.begin("GET", "/v2/")
            answer = connection.answer()
            assert answer.status == 200
            assert (answer.get("Connection") or "keep-alive").lower() == "keep-alive"
    # Go clients keep an idle connection for up to 90 s.
    assert TimeoutSettings().idle_seconds > 90


def test_an_answer_without_a_body_leaves_the_connection_usable(repository: Repository) -> None:
    with repository.registry.connect() as connection:
        connection.begin("POST", repository.path("blobs/uploads/"), {"Content-Length": "0"})
        begun = connection.answer()
        assert begun.status == 202
        connection.begin("GET", begun["Location"])
        assert connection.answer().status == 204
        connection.begin("HEAD", repository.path("manifests/missing"))
        assert connection.answer().status == 404
        connection.begin("DELETE", begun["Location"])
        assert connection.answer().status == 204
        connection.begin("GET", "/v2/")
        assert connection.answer().status == 200


def test_headers_that_only_some_clients_know_arrive(repository: Repository) -> None:
    """trap 23"""
    subject = image()
    signature = image(subject=subject.descriptor())
    repository.push(signature)
    put = repository.put(signature, query="?tag=signed")
    assert put["OCI-Subject"] == subject.digest
    assert put["OCI-Tag"] == "signed"
    assert put["Docker-Content-Digest"] == signature.digest
    filtered = repository.ask("GET", f"referrers/{subject.digest}?artifactType=a%2Fb")
    assert filtered["OCI-Filters-Applied"] == "artifactType"
    assert not [name for name, _ in put.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "localhost"])
def test_a_host_of_this_machine_is_served(registry: Registry, host: str) -> None:
    port = registry.host_port.rpartition(":")[2]
    assert registry.ask("GET", "/v2/", {"Host": host.format(port=port)}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.rebound.example:5000"},
        {"Host": "10.0.0.1:5000"},
        {"Host": ""},
        {"Origin": "http://rebound.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_without_rules_no_web_page_is_served(
    repository: Repository, method: str, headers: dict[str, str]
) -> None:
    """A page that rebound its name to 127.0.0.1 speaks as the browser's user; nobody else sends these."""
    rest = "blobs/uploads/" if method == "POST" else "tags/list"
    answer = repository.ask(method, rest, headers)
    assert answer.status == 403
    if method != "HEAD":
        assert answer.codes == ["DENIED"]


def test_a_request_in_two_halves_is_one_request(registry: Registry) -> None:
    with Connection(registry.host_port) as connection:
        connection.send(b"GET /v2/ HTT")
        connection.send(f"P/1.1\r\nHost: {registry.host_port}\r\n\r\n".encode())
        assert connection.answer().status == 200
