"""Who may pull from some repositories of a mirror, and would like to see others: its own, the registry's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.client import Answer
from tests.api.contents import Manifest, digest_of, image
from tests.api.people import Login, add_users, rules_file
from tests.api.registry import Registry
from tests.api.server import Server, merged
from tests.e2e.misbehaving import Misbehaving

HOST = "docker.test"
RULES = """\
- {who: user:eve, repositories: ['hub/open/**', 'mine/**'], may: [pull]}
- {who: user:eve, repositories: ['mine/**'], may: [push]}
- {who: user:admin, repositories: ['**'], may: [pull, push, list, delete]}
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """A mirror of an upstream that has more than eve may see, and what lies where."""

    registry: Registry
    upstream: Misbehaving
    admin: Login
    eve: Login
    open: Manifest
    closed: Manifest
    private: Manifest

    def sees(self, method: str, target: str, login: Login | None = None) -> Answer:
        """What somebody, eve unless said otherwise, is answered."""
        return self.registry.ask(method, target, (login or self.eve).basic)


@pytest.fixture(scope="module")
def hub(module_folder: Path) -> Iterator[Hub]:
    """All of the upstream's has been pulled, by who may."""
    opened, closed, private = (image([os.urandom(100_000)]) for _ in range(3))
    with ExitStack() as stack:
        upstream = Server(module_folder / "upstream", module_folder)
        stack.callback(upstream.stop)
        upstream.repository("open/app").push(opened, "v1")
        upstream.repository("closed/app").push(closed, "v1")
        proxy = stack.enter_context(Misbehaving(upstream.registry.host_port))
        logins = add_users(module_folder / "data", ["eve", "admin"])
        mirror = {"name": "hub", "upstreams": [{"url": f"http://{proxy.host_port}"}], "answers_for": [HOST]}
        settings = {"mirrors": [{**mirror, "library": True}], "egress": {"allow": ["127.0.0.1/32"]}}
        server = Server(
            module_folder / "data", module_folder, merged(rules_file(module_folder, RULES), settings)
        )
        stack.callback(server.stop)
        found = Hub(server.registry, proxy, logins["admin"], logins["eve"], opened, closed, private)
        put(found, "private/app", private)
        for name, manifest in (("open", opened), ("closed", closed)):
            assert found.sees("GET", f"/v2/hub/{name}/app/manifests/v1", found.admin).body == manifest.data
            for blob in manifest.blobs:
                target = f"/v2/hub/{name}/app/blobs/{digest_of(blob)}"
                assert found.sees("GET", target, found.admin).body == blob
        yield found
        assert not server.events("request.failed")


def put(hub: Hub, name: str, manifest: Manifest) -> None:
    """Push an image as the administrator."""
    for blob in manifest.blobs:
        target = f"/v2/{name}/blobs/uploads/?digest={digest_of(blob)}"
        assert hub.registry.ask("POST", target, hub.admin.basic, blob).status == 201
    headers = {**hub.admin.basic, "Content-Type": manifest.media_type}
    assert hub.registry.ask("PUT", f"/v2/{name}/manifests/v1", headers, manifest.data).status == 201


def test_what_one_may_pull(hub: Hub) -> None:
    assert hub.sees("GET", "/v2/hub/open/app/manifests/v1").body == hub.open.data
    answer = hub.sees("GET", f"/v2/open/app/manifests/v1?ns={HOST}")
    assert answer.body == hub.open.data and answer["OCI-Namespace"] == HOST


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "target",
    [
        "/v2/hub/closed/app/manifests/v1",
        "/v2/hub/closed/app/tags/list",
        "/v2/hub/closed/app/manifests/{closed}",
        "/v2/hub/closed/app/blobs/{layer}",
        "/v2/hub/closed/app/referrers/{closed}",
        "/v2/closed/app/manifests/v1?ns=" + HOST,
        "/v2/closed/app/blobs/{layer}?ns=" + HOST,
        "/v2/closed/app/tags/list?ns=" + HOST,
        "/v2/closed/app/manifests/v1?ns=other.test&ns=" + HOST,
        "/v2/private/app/manifests/v1",
        "/v2/private/app/manifests/v1?ns=" + HOST,
        "/v2/private/app/blobs/{secret}?ns=" + HOST,
        "/v2/closed/manifests/v1?ns=" + HOST,
    ],
)
def test_what_one_may_not(hub: Hub, target: str, method: str) -> None:
    answer = hub.sees(method, place(hub, target))
    assert answer.status in (401, 403), answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "target",
    [
        "/v2/hub/open/app/manifests/{closed}",
        "/v2/hub/open/app/blobs/{layer}",
        "/v2/hub/open/app/blobs/{config}",
        "/v2/open/app/blobs/{layer}?ns=" + HOST,
        "/v2/hub/open/app/manifests/{private}",
        "/v2/hub/open/app/blobs/{secret}",
        "/v2/hub/open/other/blobs/{layer}",
        "/v2/hub/open/other/manifests/{closed}",
        "/v2/mine/app/blobs/{layer}",
    ],
)
def test_what_lies_in_the_store_and_is_not_theirs(hub: Hub, target: str, method: str) -> None:
    """It is here, and one knows its digest: neither gives a right to it, and the upstream says who has it."""
    answer = hub.sees(method, place(hub, target))
    assert answer.status == 404, answer


def test_parts_of_it_are_no_more_theirs(hub: Hub) -> None:
    target = place(hub, "/v2/hub/open/app/blobs/{layer}")
    assert hub.registry.ask("GET", target, {**hub.eve.basic, "Range": "bytes=0-9"}).status == 404


@pytest.mark.parametrize("source", ["hub/closed/app", "hub/open/app", "private/app", "hub/../private/app"])
def test_nothing_is_mounted_that_may_not_be_pulled(hub: Hub, source: str) -> None:
    for content in ("{layer}", "{secret}"):
        target = place(hub, f"/v2/mine/app/blobs/uploads/?mount={content}&from={source}")
        assert hub.sees("POST", target).status in (202, 400), source
        anonymous = place(hub, f"/v2/mine/app/blobs/uploads/?mount={content}")
        assert hub.sees("POST", anonymous).status == 202


@pytest.mark.parametrize(
    "target",
    [
        "/v2/hub//open/app/manifests/v1",
        "/v2/hub/open//app/manifests/v1",
        "/v2/HUB/open/app/manifests/v1",
        "/v2/Hub/open/app/manifests/v1",
        "/v2/hub/../private/app/manifests/v1",
        "/v2/hub/open/../../private/app/manifests/v1",
        "/v2/hub/open/%2e%2e/%2e%2e/private/app/manifests/v1",
        "/v2/hub/open%2f..%2fclosed/app/manifests/v1",
        "/v2/./hub/open/app/manifests/v1",
        "/v2/hub/open/app/manifests/../../closed/app/manifests/v1",
        "/v2/hub/open/app/manifests/..",
        "/v2/hub/open/app/blobs/sha256:..",
        "/v2/../private/app/manifests/v1?ns=" + HOST,
        "/v2/open/app/../../../private/app/manifests/v1?ns=" + HOST,
        "/v2/OPEN/app/manifests/v1?ns=" + HOST,
        "/v2//manifests/v1?ns=" + HOST,
        "/v2/" + "a" * 252 + "/manifests/v1?ns=" + HOST,
        "/v2/hub/open/app/manifests/" + "a" * 129,
    ],
)
def test_names_that_are_none(hub: Hub, target: str) -> None:
    asked = len(hub.upstream.requests)
    for login in (hub.eve, hub.admin):
        answer = hub.sees("GET", target, login)
        assert answer.status in (400, 401, 403, 404) and answer.codes, answer
        assert b"layers" not in answer.body
    assert len(hub.upstream.requests) == asked, "nobody is asked for what has no name"


def test_hosts_that_nobody_answers_for_mean_nothing(hub: Hub) -> None:
    for host in ("other.test", HOST.upper(), f"{HOST}:443", f"{HOST}.", "hub", "../hub", "%00", ""):
        answer = hub.sees("GET", f"/v2/closed/app/manifests/v1?ns={host}", hub.admin)
        assert answer.status == 404 and answer.get("OCI-Namespace") is None
        told = (
            "for which no namespace answers (mirrors[].answers_for)" in answer.json()["errors"][0]["message"]
        )
        assert told == bool(host), answer


class TestPushes:
    def test_ignore_whom_the_client_believes_to_ask(self, hub: Hub) -> None:
        made = image([os.urandom(10)])
        asked = len(hub.upstream.requests)
        for blob in made.blobs:
            begun = hub.sees("POST", f"/v2/mine/app/blobs/uploads/?ns={HOST}")
            assert begun.status == 202
            place, _, query = begun["Location"].partition("?")
            session = f"{place}?{query}&ns={HOST}" if query else f"{place}?ns={HOST}"
            assert hub.registry.ask("PATCH", session, hub.eve.basic, blob).status == 202
            # How far it is: of the same upload, though it is a GET.
            assert hub.sees("GET", session)["Range"] == f"0-{len(blob) - 1}"
            assert hub.sees("PUT", f"{session}&digest={digest_of(blob)}").status == 201
        headers = {**hub.eve.basic, "Content-Type": made.media_type}
        answer = hub.registry.ask("PUT", f"/v2/mine/app/manifests/v1?ns={HOST}", headers, made.data)
        assert answer.status == 201
        assert hub.sees("GET", "/v2/mine/app/manifests/v1").body == made.data
        assert len(hub.upstream.requests) == asked

    @pytest.mark.parametrize("name", ["hub/open/app", "hub/closed/app", "hub/mine/app"])
    @pytest.mark.parametrize("query", ["", f"?ns={HOST}"])
    def test_need_the_right_to(self, hub: Hub, name: str, query: str) -> None:
        headers = {**hub.eve.basic, "Content-Type": hub.open.media_type}
        assert hub.sees("POST", f"/v2/{name}/blobs/uploads/{query}").status == 403
        assert hub.registry.ask("PUT", f"/v2/{name}/manifests/v1{query}", headers, b"{}").status == 403
        assert hub.sees("DELETE", f"/v2/{name}/manifests/v1{query}").status == 403

    def test_do_not_make_a_public_name_of_a_private_one(self, hub: Hub) -> None:
        """What was pushed below the namespace stays, whatever its upstream has under that name."""
        ours = image([os.urandom(10)])
        put(hub, "hub/open/mine", ours)
        Registry(hub.upstream.upstream).repository("open/mine").push(image(), "v1")
        assert hub.sees("GET", "/v2/hub/open/mine/manifests/v1").body == ours.data
        assert hub.sees("GET", f"/v2/open/mine/manifests/v1?ns={HOST}").body == ours.data


def place(hub: Hub, target: str) -> str:
    """The target with the digests of what lies where."""
    return target.format(
        closed=hub.closed.digest,
        layer=digest_of(hub.closed.blobs[1]),
        config=digest_of(hub.closed.blobs[0]),
        private=hub.private.digest,
        secret=digest_of(hub.private.blobs[1]),
    )
