"""Tokens of a real issuer of OpenID Connect are believed, and only while they should be."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.access.people import SourceUnavailable
from registry.access.tokens import TokenInvalid
from registry.access.trust.issuers import Issuers
from registry.access.trust.settings import IssuerSettings
from registry.remote.egress import Egress
from tests.access.trust.tokens import Clock, Signer, part
from tests.api.people import Login, bearer, post_token, rules_file, token
from tests.api.server import Server, merged
from tests.e2e.containers import Clients
from tests.e2e.guarded import SkopeoHand
from tests.e2e.images import NewImage
from tests.e2e.oidc import Provider

RS, ES = Signer.new("rs-1", "RS256"), Signer.new("es-1", "ES256")
EGRESS = Egress([ipaddress.ip_network("127.0.0.1")])


@pytest.fixture
def provider(scratch: Path) -> Iterator[Provider]:
    """An issuer with a key of each of two kinds."""
    started = Provider(scratch, RS, ES)
    yield started
    started.stop()


class Trusting:
    """A registry's issuers, and a clock for when keys are fetched."""

    def __init__(self, provider: Provider, **more: Any) -> None:
        given = {
            "name": "provider",
            "issuer": provider.issuer,
            "audience": ["RS256", "ES256"],
            "claims": {"email": "*@example.test"},
        }
        self.clock = Clock()
        self.ahead = timedelta(0)
        settings = IssuerSettings.model_validate(given | more)
        self.issuers = Issuers.of([settings], EGRESS, now=self.now, clock=self.clock.seconds)

    def now(self) -> datetime:
        """The time of day, or later."""
        return datetime.now(UTC) + self.ahead


@pytest.fixture
async def trusting(provider: Provider) -> AsyncIterator[Trusting]:
    """A registry that trusts the issuer."""
    made = Trusting(provider)
    yield made
    await made.issuers.aclose()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_who_logs_in_there_is_believed_here(
    provider: Provider, trusting: Trusting, algorithm: str
) -> None:
    principal = await trusting.issuers.verify(provider.token(algorithm, "alice"))
    assert str(principal) == "issuer:provider:alice"
    said = dict(principal.claims)
    assert (said["iss"], said["aud"], said["email"]) == (provider.issuer, algorithm, "alice@example.test")
    assert said["email_verified"] == "true"
    assert "groups" not in said, "a list is no text"


async def test_a_token_that_the_issuer_signs_with_a_shared_secret_is_not(
    provider: Provider, trusting: Trusting
) -> None:
    with pytest.raises(TokenInvalid, match="it is for another audience"):
        await trusting.issuers.verify(provider.token("HS256", "alice"))
    trusts_all = Trusting(provider, audience="HS256")
    with pytest.raises(TokenInvalid, match="it is not signed by one of RS256, ES256"):
        await trusts_all.issuers.verify(provider.token("HS256", "alice"))


async def test_what_the_configuration_asks_for_counts(provider: Provider) -> None:
    token = provider.token("ES256", "alice")
    for more, reason in (
        ({"audience": "else"}, "it is for another audience"),
        ({"claims": {"email": "bob@*"}}, "its claim email is not as access.issuers wants it"),
        ({"claims": {"groups": "devs"}}, "its claim groups is not as access.issuers wants it"),
        ({"issuer": f"{provider.issuer}/"}, "its issuer is none of access.issuers"),
        ({"algorithms": ["RS256"]}, "it is not signed by one of RS256"),
    ):
        with pytest.raises(TokenInvalid, match=reason):
            await Trusting(provider, **more).issuers.verify(token)


async def test_a_token_is_good_until_it_expires(provider: Provider, trusting: Trusting) -> None:
    token = provider.token("ES256", "alice")
    assert str(await trusting.issuers.verify(token)) == "issuer:provider:alice"
    trusting.ahead = timedelta(hours=2)
    with pytest.raises(TokenInvalid, match="it has expired"):
        await trusting.issuers.verify(token)


async def test_keys_are_replaced_and_the_issuer_goes_down(provider: Provider, trusting: Trusting) -> None:
    before = provider.token("ES256", "alice")
    assert str(await trusting.issuers.verify(before)) == "issuer:provider:alice"
    provider.stop()
    other = Trusting(provider)
    with pytest.raises(SourceUnavailable, match="cannot connect"):
        await other.issuers.verify(before)
    # Of another client of the same issuer: not remembered, but its key is known.
    provider.start(RS, Signer.new("es-2", "ES256"))
    second = provider.token("RS256", "bob")
    new = provider.token("ES256", "carol")
    provider.stop()
    assert str(await trusting.issuers.verify(second)) == "issuer:provider:bob"
    with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
        await trusting.issuers.verify(new)
    provider.start(RS, Signer.new("es-2", "ES256"))
    trusting.clock.at += timedelta(minutes=1)
    assert str(await trusting.issuers.verify(new)) == "issuer:provider:carol"
    with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
        await trusting.issuers.verify(before)


RULES = """\
- who: issuer:provider
  claims: {email: '*@example.test'}
  repositories: ['team/**']
  may: [pull, push]
- {who: 'issuer:provider:eve', repositories: ['**'], deny: [create, overwrite]}
"""


@pytest.fixture
def server(scratch: Path, provider: Provider) -> Iterator[Server]:
    """A registry that trusts the issuer."""
    settings = merged(
        rules_file(scratch, RULES),
        {
            "access": {
                "issuers": [
                    {
                        "name": "provider",
                        "issuer": provider.issuer,
                        "audience": ["RS256", "ES256"],
                        "claims": {"email": "*@example.test"},
                    }
                ]
            },
            "egress": {"allow": ["127.0.0.1"]},
        },
    )
    started = Server(scratch / "data", scratch, settings)
    yield started
    started.stop()


def test_a_job_logs_in_with_its_token(server: Server, provider: Provider) -> None:
    registry, scope = server.registry, "repository:team/app:pull,push"
    job = Login("oidc", provider.token("ES256", "alice"))
    got = token(registry, job, scope)
    assert got.json()["scope"] == "repository:team/app:pull,push"
    assert registry.ask("POST", "/v2/team/app/blobs/uploads/", bearer(got)).status == 202
    assert registry.ask("POST", "/v2/team/app/blobs/uploads/", job.basic).status == 202
    registry.ask("POST", "/v2/other/app/blobs/uploads/", job.basic).refuses(403, "DENIED")
    eve = Login("oidc", provider.token("RS256", "eve"))
    assert token(registry, eve, scope).json()["scope"] == "repository:team/app:pull"
    form = [("grant_type", "password"), ("username", "oidc"), ("password", job.password), ("scope", scope)]
    assert post_token(registry, *form).json()["scope"] == got.json()["scope"]


def test_a_token_that_is_not_believed_is_a_wrong_password_and_the_log_knows_why(
    server: Server, provider: Provider
) -> None:
    registry = server.registry
    good = provider.token("ES256", "alice")
    head, body, signature = good.split(".")
    other = provider.token("ES256", "bob").split(".")[1]
    bad = {
        f"{head}.{other}.{signature}": "its signature is not that of its key",
        f"{part({'alg': 'none'})}.{body}.{signature}": "it is not signed by one of RS256, ES256",
        provider.token("HS256", "alice"): "it is for another audience",
        ES.token({"iss": provider.issuer, "aud": "ES256", "exp": 1}): "it has expired",
        ES.token({"iss": "https://else.test"}): "its issuer is none of access.issuers",
        f"{good}x": "its signature is not base64url",
        f"ey{'x' * 9000}.{body}.{signature}": "it has more than 8192 bytes",
    }
    for sent in bad:
        login = Login("oidc", sent)
        for answer in (
            token(registry, login, "repository:team/app:pull"),
            registry.ask("GET", "/v2/", login.basic),
        ):
            assert answer.refuses(401, "UNAUTHORIZED")
            assert answer.json()["errors"][0]["message"] == "the user name or password is incorrect"
    assert token(registry, Login("oidc", good), "repository:team/app:pull").status == 200
    server.stop()
    for sent, reason in bad.items():
        assert server.log.count(f'"reason":"{reason}"') == 2, reason
        assert sent not in server.log and sent.split(".")[1] not in server.log


def test_while_the_issuer_is_down_a_job_is_told_to_come_back(server: Server, provider: Provider) -> None:
    job = Login("oidc", provider.token("ES256", "alice"))
    provider.stop()
    answer = token(server.registry, job, "repository:team/app:pull")
    assert answer.refuses(503, "UNAVAILABLE")
    assert answer["Retry-After"] == "10"
    server.stop()
    assert "issuer.unavailable" in server.log and "login.unavailable" in server.log


def test_a_client_pushes_with_the_token_of_its_job(
    server: Server, provider: Provider, containers: Clients, new_image: NewImage
) -> None:
    skopeo = SkopeoHand(containers("skopeo"))
    host_port, image = server.registry.host_port, new_image()
    skopeo.login(host_port, Login("oidc", provider.token("RS256", "alice")))
    skopeo.push(image, f"{host_port}/team/app:1")
    skopeo.pull(f"{host_port}/team/app:1")
    assert skopeo.push(image, f"{host_port}/other/app:1", code=None).code != 0
    skopeo.logout(host_port)
