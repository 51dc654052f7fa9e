"""Tokens between registries: CNCF Distribution believes ours, as those of its token server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.model.names import RepositoryName, Tag
from registry.remote.upstream import UpstreamError
from tests.api.client import ask
from tests.api.people import Login, add_users, bearer, rules_file, token
from tests.api.server import Server
from tests.e2e.containers import Clients
from tests.e2e.distribution import Distribution
from tests.e2e.images import NewImage, write_layout
from tests.e2e.test_upstream import read_all, reading
from tests.e2e.wire import Wire

SERVICE = "distribution.example"
RULES = """\
- {who: user:alice, repositories: ['team/**'], may: [pull, push]}
- {who: user:bob, repositories: ['team/**'], may: [pull]}
"""


@pytest.fixture
def logins(scratch: Path) -> dict[str, Login]:
    return add_users(scratch / "data", ["alice", "bob"])


@pytest.fixture
def server(scratch: Path, logins: dict[str, Login]) -> Iterator[Server]:
    """Ours, which mints tokens for another service too."""
    settings = rules_file(scratch, RULES)
    settings["access"]["tokens"] = {"services": [SERVICE]}
    started = Server(scratch / "data", scratch, settings)
    yield started
    started.stop()


@pytest.fixture
def other(
    server: Server, logins: dict[str, Login], distribution: Callable[..., Distribution], scratch: Path
) -> Distribution:
    """CNCF Distribution, which has its tokens from ours."""
    keys = scratch / "jwks.json"
    keys.write_bytes(server.registry.ask("GET", "/auth/jwks.json").body)
    issuer = json.loads(server.command("access", "show", "--json").out)["issuer"]
    auth = {
        "realm": f"http://{server.registry.host_port}/auth/token",
        "service": SERVICE,
        "issuer": issuer,
        "jwks": str(keys),
    }
    return distribution(3, scratch / "other", more={"auth": {"token": auth}})


def test_distribution_believes_our_tokens(
    server: Server, other: Distribution, logins: dict[str, Login]
) -> None:
    scope = "repository:team/app:pull,push"
    mine = bearer(token(server.registry, logins["alice"], scope, service=SERVICE))
    assert ask(other.host_port, "GET", "/v2/", mine).status == 200
    assert ask(other.host_port, "POST", "/v2/team/app/blobs/uploads/", mine).status == 202
    theirs = bearer(token(server.registry, logins["bob"], scope, service=SERVICE))
    assert ask(other.host_port, "POST", "/v2/team/app/blobs/uploads/", theirs).status == 401
    ours = bearer(token(server.registry, logins["alice"], scope))
    assert ask(other.host_port, "GET", "/v2/", ours).status == 401, "made for us, not for it"
    assert server.registry.ask("GET", "/v2/", mine).status == 401, "made for it, not for us"


def test_a_client_goes_from_one_to_the_other_for_its_token(
    other: Distribution, logins: dict[str, Login], containers: Clients, new_image: NewImage
) -> None:
    skopeo, image = containers("skopeo"), new_image()
    credentials = f"alice:{logins['alice'].password}"
    there = f"docker://{other.host_port}/team/app:1"
    skopeo(
        *("copy", "--dest-tls-verify=false", f"--dest-creds={credentials}"),
        *(f"oci:{write_layout(image, skopeo.scratch())}:1", there),
    )
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"--creds={credentials}", there).out
    assert raw.encode() == image.manifest.data


async def test_it_is_read_as_an_upstream_where_our_token_service_is_listed(
    server: Server, other: Distribution, logins: dict[str, Login], new_image: NewImage
) -> None:
    name, image = RepositoryName("team/app"), new_image()
    mine = bearer(token(server.registry, logins["alice"], f"repository:{name}:pull,push", service=SERVICE))
    Wire(other.host_port, mine).push(name, image, "1")
    async with reading(other.host_port, logins["bob"], realms=(server.registry.host_port,)) as upstream:
        await read_all(upstream, name, image, "1")
    async with reading(other.host_port, logins["bob"]) as upstream:
        with pytest.raises(UpstreamError, match=r"which is not its own host") as raised:
            await upstream.manifest(name, Tag("1"))
        assert raised.value.cause == "lying"
