"""A listener that is bound to a namespace, as docker's `registry-mirrors` ask it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.api.client import Answer
from tests.api.contents import Manifest, image
from tests.api.people import Login, add_users, bearer, rules_file
from tests.api.registry import Registry, next_page
from tests.api.server import Server

MIRRORS = {
    "mirrors": [
        {"name": "hub", "answers_for": ["docker.io"], "listen": "127.0.0.1:0"},
        {"name": "other/quay", "answers_for": ["quay.io"], "listen": "127.0.0.1:0"},
        {"name": "third", "answers_for": ["third.example"]},
    ]
}
RULES = """\
- {who: anonymous, repositories: ['hub/library/*'], may: [pull]}
- {who: user:alice, repositories: ['hub/**'], may: [pull, push]}
- {who: user:bob, repositories: ['team/**'], may: [pull]}
"""


People = tuple[Server, dict[str, Login]]


def bound(server: Server, name: str) -> Registry:
    """The listener that is bound to a namespace."""
    told = re.search(f"below {name}/ are pulled without that prefix from http://([^ ]*) ", server.log)
    assert told is not None, server.log
    return Registry(told[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bound")
    started = Server(folder / "data", folder, MIRRORS)
    yield started
    started.stop()


@pytest.fixture
def hub(server: Server) -> Registry:
    return bound(server, "hub")


@pytest.fixture
def busybox(server: Server) -> Manifest:
    """An image of Docker Hub's, as it lies here."""
    return server.repository("hub/library/busybox").push(image(), "1")


class TestNames:
    def test_they_leave_the_namespace_out(self, hub: Registry, busybox: Manifest) -> None:
        repository = hub.repository("library/busybox")
        assert repository.get("1").body == busybox.data
        assert repository.get(busybox.digest)["Docker-Content-Digest"] == busybox.digest
        for blob, digest in [(data, Manifest(data, "").digest) for data in busybox.blobs]:
            assert repository.ask("GET", f"blobs/{digest}").body == blob
            assert repository.ask("HEAD", f"blobs/{digest}").status == 200
        assert repository.ask("HEAD", "manifests/1").status == 200
        assert repository.tags() == ["1"]

    def test_of_docker_hub_those_of_one_segment_are_library_s(
        self, server: Server, hub: Registry, busybox: Manifest
    ) -> None:
        assert hub.repository("busybox").get("1").body == busybox.data
        elsewhere = server.repository("other/quay/busybox").push(image(), "1")
        assert bound(server, "other/quay").repository("busybox").get("1").body == elsewhere.data

    def test_nothing_else_can_be_asked_for(self, server: Server, hub: Registry, busybox: Manifest) -> None:
        server.repository("private/app").push(image(), "1")
        for name in ("private/app", "hub/library/busybox", "../private/app", "%2e%2e/private/app"):
            assert hub.ask("GET", f"/v2/{name}/manifests/1").status in (400, 404)
            assert hub.ask("GET", f"/v2/{name}/manifests/{busybox.digest}").status in (400, 404)

    def test_links_lead_on_at_the_same_listener(self, server: Server, hub: Registry) -> None:
        pushed = server.repository("hub/library/many")
        subject = image()
        for tag in ("1", "2", "3"):
            pushed.push(subject, tag)
        found: list[str] = []
        target: str | None = "/v2/many/tags/list?n=1"
        while target is not None:
            answer = hub.ask("GET", target)
            found += answer.json()["tags"]
            target = next_page(answer)
        assert found == ["1", "2", "3"]
        assert hub.repository("library/many").referrers(subject.digest) == []


class TestReading:
    @pytest.mark.parametrize(
        ("method", "rest"),
        [
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/1"),
            ("DELETE", "manifests/1"),
            ("PATCH", "blobs/uploads/x"),
        ],
    )
    def test_it_takes_nothing_and_says_where_to_push(self, hub: Registry, method: str, rest: str) -> None:
        answer = hub.ask(method, f"/v2/library/busybox/{rest}", body=b"{}")
        assert answer.refuses(405, "UNSUPPORTED")
        assert answer["Allow"] == "GET, HEAD"
        assert answer["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert "registry.listen: 127.0.0.1:0" in answer.json()["errors"][0]["message"]

    def test_where_to_push_is_the_address_that_clients_use(self, tmp_path: Path) -> None:
        server = Server(tmp_path / "data", tmp_path, {**MIRRORS, "url": "https://registry.example"})
        answer = bound(server, "hub").ask("DELETE", "/v2/busybox/manifests/1")
        assert answer.json()["errors"][0]["message"].endswith("push to https://registry.example")
        server.stop()

    def test_it_is_a_registry(self, hub: Registry) -> None:
        for path in ("/v2/", "/v2"):
            assert hub.ask("GET", path).json() == {}
        assert hub.ask("GET", "/readyz").status == 200
        assert hub.ask("GET", "/metrics").status == 404

    def test_there_is_neither_a_catalog_nor_the_operations(self, hub: Registry) -> None:
        assert hub.ask("GET", "/v2/_catalog").refuses(404, "NOT_FOUND")
        assert hub.ask("POST", "/api/v1/tag.list", body=b"{}").status == 404

    def test_foreign_host_names_are_refused(self, hub: Registry) -> None:
        assert hub.ask("GET", "/v2/", {"Host": "evil.example"}).refuses(403, "DENIED")

    def test_a_namespace_without_a_listener_has_none(self, server: Server) -> None:
        assert server.log.count("without that prefix") == 2


def asked(answer: Answer, scope: str | None, login: Login | None = None) -> Answer:
    """The token that a client gets of a challenge, with a scope of its own or that of the challenge."""
    realm, service, given = (
        (re.search(f'{name}="([^"]*)"', answer["WWW-Authenticate"]) or ["", ""])[1]
        for name in ("realm", "service", "scope")
    )
    place = urlsplit(realm)
    query = urlencode({"service": service, "scope": scope or given})
    return Registry(place.netloc).ask("GET", f"{place.path}?{query}", login.basic if login else {})


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("bound-people")
    logins = add_users(folder / "data", ["alice", "bob"])
    server = Server(folder / "data", folder, {**MIRRORS, **rules_file(folder, RULES)})
    yield server, logins
    server.stop()


class TestTokens:
    def test_docker_is_not_asked_to_log_in(self, people: People) -> None:
        """Its classic store looks at `/v2/` alone for that, and has no login but the one for Docker Hub."""
        server, _ = people
        assert server.registry.ask("GET", "/v2/").refuses(401, "UNAUTHORIZED")
        hub = bound(server, "hub")
        assert hub.ask("GET", "/v2/").status == 200
        assert hub.ask("GET", "/v2/library/busybox/manifests/1").refuses(404, "MANIFEST_UNKNOWN")

    def test_podman_makes_the_scope_itself_of_the_name_that_it_knows(self, people: People) -> None:
        server, logins = people
        hub = bound(server, "hub")
        refused = hub.ask("GET", "/v2/team/app/manifests/1")
        assert "/auth/token/hub" in refused["WWW-Authenticate"]
        token = asked(refused, "repository:team/app:pull", logins["alice"])
        assert token.json()["scope"] == "repository:hub/team/app:pull"
        assert hub.ask("GET", "/v2/team/app/manifests/1", bearer(token)).refuses(404, "MANIFEST_UNKNOWN")

    def test_who_pulls_what_nobody_may_logs_in(self, people: People) -> None:
        server, logins = people
        hub = bound(server, "hub")
        refused = hub.ask("GET", "/v2/team/app/manifests/1")
        assert refused.refuses(401, "UNAUTHORIZED")
        assert 'scope="repository:team/app:pull"' in refused["WWW-Authenticate"]
        mine = asked(refused, None, logins["alice"])
        assert hub.ask("GET", "/v2/team/app/manifests/1", bearer(mine)).refuses(404, "MANIFEST_UNKNOWN")
        # There is such a repository of the registry's own, which this is not.
        theirs = asked(refused, None, logins["bob"])
        assert theirs.json()["scope"] == ""
        assert hub.ask("GET", "/v2/team/app/manifests/1", bearer(theirs)).refuses(403, "DENIED")

    def test_names_of_one_segment_are_library_s_here_too(self, people: People) -> None:
        server, _ = people
        refused = bound(server, "hub").ask("GET", "/v2/team/app/tags/list")
        token = asked(refused, "repository:busybox:pull,push registry:catalog:*")
        assert token.json()["scope"] == "repository:hub/library/busybox:pull"

    def test_other_names_behind_the_endpoint_are_none(self, people: People) -> None:
        server, _ = people
        for path in ("/auth/token/none", "/auth/token/", "/auth/hub"):
            assert server.registry.ask("GET", f"{path}?scope=repository:a:pull").refuses(404, "NOT_FOUND")
