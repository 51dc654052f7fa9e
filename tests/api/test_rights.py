"""Every route by every right: a new route without a rule fails here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.access.rights import RIGHTS
from registry.api.paths import Endpoint
from registry.api.v2 import ROUTES
from tests.api.client import Answer
from tests.api.contents import Manifest, digest_of
from tests.api.people import Login, add_users, bearer, rules_file, token
from tests.api.server import Server

RULES = (
    "".join(
        f"- {{who: 'user:only-{right}', repositories: ['team/**'], may: [{right}]}}\n"
        f"- {{who: 'user:but-{right}', repositories: ['team/**'],"
        f" may: [{', '.join(other for other in RIGHTS if other != right)}]}}\n"
        for right in RIGHTS
    )
    + """\
- {who: 'user:all', repositories: ['team/**', 'other/**'], may: [pull, push, delete, list]}
- {who: 'user:tagger', repositories: ['team/**'], may: [pull]}
- {who: 'user:tagger', repositories: ['team/**'], tags: ['own-*'], may: [push, delete]}
- {who: 'user:team', repositories: ['team/**'], may: [pull, push]}
"""
)


class World:
    """A server with rules, and something in its repositories."""

    def __init__(self, folder: Path) -> None:
        names = [f"{kind}-{right}" for kind in ("only", "but") for right in RIGHTS]
        self.logins = add_users(folder / "data", (*names, "all", "tagger", "team"))
        self.server = Server(folder / "data", folder, rules_file(folder, RULES))
        self.registry = self.server.registry
        self.manifest("latest")

    def ask(self, who: str, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request of somebody's."""
        fields = {
            **self.logins[who].basic,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.registry.ask(method, target, fields, body or None)

    def begin(self) -> str:
        """An upload that was begun."""
        return self.ask("all", "POST", "/v2/team/app/blobs/uploads/")["Location"]

    def blob(self, repository: str = "team/app") -> str:
        """A blob in a repository."""
        data = secrets.token_bytes(16)
        answer = self.ask("all", "POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", data)
        assert answer.status == 201, answer
        return digest_of(data)

    def put(
        self, who: str, made: Manifest, reference: str = "", query: str = "", repository: str = "team/app"
    ) -> Answer:
        """Put a manifest."""
        target = f"/v2/{repository}/manifests/{reference or made.digest}{query}"
        return self.ask(who, "PUT", target, made.data, Content_Type=made.media_type)

    def manifest(self, reference: str = "") -> Manifest:
        """A manifest that needs nothing, in the repository."""
        made = fresh_manifest()
        answer = self.put("all", made, reference)
        assert answer.status == 201, answer
        return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rights"))
    yield made
    made.server.stop()


def fresh_manifest() -> Manifest:
    return Manifest(
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],'
        + f'"annotations":{{"x":"{secrets.token_hex(8)}"}}}}'.encode(),
        "application/vnd.oci.image.index.v1+json",
    )


# Each route with a request that is answered 2xx to whoever may, whatever was asked before.
REQUESTS: dict[tuple[Endpoint, str], Callable[[World, str], Answer]] = {
    (Endpoint.BASE, "GET"): lambda world, who: world.ask(who, "GET", "/v2/"),
    (Endpoint.CATALOG, "GET"): lambda world, who: world.ask(who, "GET", "/v2/_catalog"),
    (Endpoint.TAGS, "GET"): lambda world, who: world.ask(who, "GET", "/v2/team/app/tags/list"),
    (Endpoint.REFERRERS, "GET"): lambda world, who: world.ask(
        who, "GET", f"/v2/team/app/referrers/{digest_of(b'')}"
    ),
    (Endpoint.MANIFEST, "GET"): lambda world, who: world.ask(
        who, "GET", f"/v2/team/app/manifests/{world.manifest().digest}"
    ),
    (Endpoint.MANIFEST, "PUT"): lambda world, who: world.put(who, fresh_manifest()),
    (Endpoint.MANIFEST, "DELETE"): lambda world, who: world.ask(
        who, "DELETE", f"/v2/team/app/manifests/{world.manifest().digest}"
    ),
    (Endpoint.BLOB, "GET"): lambda world, who: world.ask(who, "GET", f"/v2/team/app/blobs/{world.blob()}"),
    (Endpoint.BLOB, "DELETE"): lambda world, who: world.ask(
        who, "DELETE", f"/v2/team/app/blobs/{world.blob()}"
    ),
    (Endpoint.UPLOADS, "POST"): lambda world, who: world.ask(who, "POST", "/v2/team/app/blobs/uploads/"),
    (Endpoint.UPLOAD, "GET"): lambda world, who: world.ask(who, "GET", world.begin()),
    (Endpoint.UPLOAD, "PATCH"): lambda world, who: world.ask(who, "PATCH", world.begin(), b"x"),
    (Endpoint.UPLOAD, "PUT"): lambda world, who: world.ask(
        who, "PUT", f"{world.begin()}?digest={digest_of(b'x')}", b"x"
    ),
    (Endpoint.UPLOAD, "DELETE"): lambda world, who: world.ask(who, "DELETE", world.begin()),
}


each_route = pytest.mark.parametrize(
    ("endpoint", "method"), list(REQUESTS), ids=[f"{one.value}-{method}" for one, method in REQUESTS]
)


def test_every_route_is_here() -> None:
    assert set(REQUESTS) == {(endpoint, method) for endpoint in ROUTES for method in ROUTES[endpoint]}


@each_route
def test_a_route_takes_its_right_and_no_other(world: World, endpoint: Endpoint, method: str) -> None:
    ask = REQUESTS[endpoint, method]
    _, needed = ROUTES[endpoint][method]
    assert ask(world, "all").status // 100 == 2
    for right in RIGHTS:
        may = {f"only-{right}": needed in (None, right), f"but-{right}": needed is None or needed != right}
        for who, is_allowed in may.items():
            answer = ask(world, who)
            if is_allowed:
                assert answer.status // 100 == 2, (who, answer)
            else:
                assert answer.refuses(403, "DENIED"), (who, answer)
                assert "no access rule grants" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("endpoint", [Endpoint.MANIFEST, Endpoint.BLOB])
def test_a_head_takes_what_a_get_takes(world: World, endpoint: Endpoint) -> None:
    digest = world.manifest().digest if endpoint is Endpoint.MANIFEST else world.blob()
    target = f"/v2/team/app/{endpoint.value}s/{digest}"
    assert world.ask("only-pull", "HEAD", target).status == 200
    assert world.ask("but-pull", "HEAD", target).status == 403


@pytest.mark.parametrize("reference", ["latest", "missing"])
def test_a_head_by_nobody_in_particular_is_told_to_log_in(world: World, reference: str) -> None:
    """Trap 82."""
    with world.registry.connect() as connection:
        connection.begin("HEAD", f"/v2/team/app/manifests/{reference}")
        answer = connection.answer()
        assert answer.status == 401
        challenge = answer["WWW-Authenticate"]
        assert challenge.startswith("Bearer realm=") and 'scope="repository:team/app:pull"' in challenge
        # Nothing of a body came: the next answer begins where this one ended.
        connection.begin("GET", "/v2/", world.logins["all"].basic)
        assert connection.answer().status == 200


@each_route
def test_nobody_in_particular_is_told_to_log_in(world: World, endpoint: Endpoint, method: str) -> None:
    world.logins["nobody"] = Login("", "")
    answer = REQUESTS[endpoint, method](world, "nobody")
    assert answer.refuses(401, "UNAUTHORIZED")
    challenge = answer["WWW-Authenticate"]
    assert challenge.startswith(f'Bearer realm="http://{world.registry.host_port}/auth/token",service="')
    _, needed = ROUTES[endpoint][method]
    scope = {
        None: None,
        "list": "registry:catalog:*",
        "pull": "repository:team/app:pull",
        "create": "repository:team/app:pull,push",
        "delete": "repository:team/app:delete",
    }[needed]
    assert (f'scope="{scope}"' in challenge) if scope else ("scope" not in challenge)
    assert "error" not in challenge


class TestRepositoriesThatARequestNames:
    """Trap 24: the same answer, whether or not there is what may not be pulled."""

    def test_a_mount_from_what_may_not_be_pulled_is_an_upload(self, world: World) -> None:
        digest = world.blob("other/app")
        answers = [
            world.ask("team", "POST", f"/v2/team/app/blobs/uploads/?mount={digest}&from={source}")
            for source in ("other/app", "other/none")
        ]
        answers.append(world.ask("team", "POST", f"/v2/team/app/blobs/uploads/?mount={digest}"))
        assert [answer.status for answer in answers] == [202] * 3
        names = [sorted(name for name, _ in answer.headers) for answer in answers]
        assert names[0] == names[1] == names[2]
        assert (
            world.ask("all", "POST", f"/v2/team/app/blobs/uploads/?mount={digest}&from=other/app").status
            == 201
        )

    def test_a_token_that_is_too_small_for_a_mount_is_told_both_scopes(self, world: World) -> None:
        """Trap 27, and trap 24: that a token is too small says nothing of what is there either."""
        digest = world.blob("other/app")
        target = f"/v2/team/app/blobs/uploads/?mount={digest}&from=other/app"
        small = bearer(token(world.registry, world.logins["all"], "repository:team/app:pull,push"))
        answer = world.registry.ask("POST", target, small)
        assert answer.refuses(401, "UNAUTHORIZED")
        assert 'scope="repository:team/app:pull,push repository:other/app:pull"' in answer["WWW-Authenticate"]
        assert 'error="insufficient_scope"' in answer["WWW-Authenticate"]
        scopes = answer["WWW-Authenticate"].split('scope="')[1].split('"')[0]
        large = bearer(token(world.registry, world.logins["all"], scopes))
        assert world.registry.ask("POST", target, large).status == 201
        # Whoever may not pull there whatever the token gets an upload, with any token.
        theirs = bearer(token(world.registry, world.logins["team"], scopes))
        assert world.registry.ask("POST", target, theirs).status == 202

    def test_what_is_hidden_is_answered_as_what_is_not_there(self, world: World) -> None:
        world.blob("other/app")
        shapes = []
        for name in ("other/app", "other/none"):
            answer = world.ask("team", "GET", f"/v2/{name}/tags/list")
            assert answer.refuses(403, "DENIED")
            fields = [(key, value) for key, value in answer.headers if key not in ("date", "x-request-id")]
            shapes.append((fields, answer.body.replace(name.encode(), b"NAME")))
        length = ("content-length", str(len(shapes[0][1])))
        assert [(key, "" if key == "content-length" else value) for key, value in shapes[0][0]] == [
            (key, "" if key == "content-length" else value) for key, value in shapes[1][0]
        ], length
        assert shapes[0][1] == shapes[1][1]

    def test_the_catalog_shows_what_may_be_listed_and_pulled(self, world: World) -> None:
        world.manifest()
        other = world.registry.repository("other/app")
        made = fresh_manifest()
        put = other.ask(
            "PUT",
            f"manifests/{made.digest}",
            {**world.logins["all"].basic, "Content-Type": made.media_type},
            made.data,
        )
        assert put.status == 201
        assert world.ask("all", "GET", "/v2/_catalog").json()["repositories"] == ["other/app", "team/app"]
        assert world.ask("but-delete", "GET", "/v2/_catalog").json()["repositories"] == ["team/app"]
        assert world.ask("only-list", "GET", "/v2/_catalog").json()["repositories"] == []
        for who, scope, code in (
            ("all", "registry:catalog:*", 200),
            ("all", "repository:team/app:pull", 401),
        ):
            header = bearer(token(world.registry, world.logins[who], scope))
            answer = world.registry.ask("GET", "/v2/_catalog", header)
            assert answer.status == code
        assert 'error="insufficient_scope"' in answer["WWW-Authenticate"]
