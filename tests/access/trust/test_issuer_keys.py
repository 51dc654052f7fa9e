"""Keys that issuers publish: fetched when they are needed, kept, and what becomes of an issuer that lies."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.access.people import SourceUnavailable
from registry.access.tokens import TokenInvalid
from registry.access.trust.issuers import Issuers
from registry.access.trust.settings import IssuerSettings
from registry.remote.egress import Egress
from tests.access.trust.tokens import AUDIENCE, Clock, Signer
from tests.certificates import self_signed
from tests.remote.hosts import Host, Names, Script, answer, json_answer, redirect, serving
from tests.remote.test_egress import tls

ONE, TWO = Signer.new("one"), Signer.new("two")
DISCOVERY = "/.well-known/openid-configuration"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def key_set(*signers: Signer) -> bytes:
    return json_answer(json.dumps({"keys": [signer.jwk for signer in signers]}).encode())


@dataclass
class Place:
    """An issuer that is served here, and the registry that trusts it."""

    host: Host
    issuers: Issuers
    clock: Clock
    issuer: str

    def token(self, signer: Signer = ONE, **claims: Any) -> str:
        now = int(self.clock.at.timestamp())
        times = {"iat": now, "nbf": now, "exp": now + 300}
        return signer.token({"iss": self.issuer, **times, **claims})

    async def says(self, signer: Signer = ONE) -> str:
        """What becomes of a token: its principal, or why not."""
        try:
            return str(await self.issuers.verify(self.token(signer)))
        except (TokenInvalid, SourceUnavailable) as error:
            return f"{type(error).__name__}: {error}"

    async def settle(self) -> None:
        """Until nothing is being fetched."""
        for one in self.issuers._issuers.values():
            fetching = getattr(one.keys, "_fetching", None)
            if fetching is not None:
                await fetching

    @property
    def fetched(self) -> int:
        """How often the keys were asked for."""
        return sum(request.startswith("GET /keys") for request in self.host.requests)


@asynccontextmanager
async def issuer(
    keys: bytes | Script = b"",
    *,
    path: str = "",
    discovery: dict[str, Any] | bytes | None = None,
    allow: str = "127.0.0.1",
    **more: Any,
) -> AsyncIterator[Place]:
    """An issuer whose keys are answered so, and whose discovery document says what is usual and more."""
    async with serving({"/keys": keys or key_set(ONE)}) as host:
        at = host.url(path)
        if isinstance(discovery, bytes):
            host.routes[path + DISCOVERY] = discovery
        else:
            document = {"issuer": at, "jwks_uri": host.url("/keys"), **(discovery or {})}
            host.routes[path.rstrip("/") + DISCOVERY] = json_answer(json.dumps(document).encode())
        given = {"name": "ci", "issuer": at, "audience": AUDIENCE, "claims": {"sub": "job-*"}}
        settings = IssuerSettings.model_validate(given | more)
        clock = Clock()
        egress = Egress([ipaddress.ip_network(allow)])
        made = Issuers.of([settings], egress, now=clock.now, clock=clock.seconds)
        try:
            yield Place(host, made, clock, at)
        finally:
            await made.aclose()


class TestWhereTheyAre:
    @pytest.mark.parametrize("path", ["", "/", "/realms/ci", "/realms/ci/"])
    async def test_where_the_discovery_document_says(self, path: str) -> None:
        async with issuer(path=path) as place:
            assert await place.says() == "issuer:ci:job-1"
            asked = [request.split(" ", 2)[1] for request in place.host.requests]
            assert asked == [path.rstrip("/") + DISCOVERY, "/keys"]

    async def test_where_the_configuration_says(self) -> None:
        async with serving({"/k": key_set(ONE)}) as keys, issuer(jwks_url=keys.url("/k")) as place:
            assert await place.says() == "issuer:ci:job-1"
            assert place.host.requests == []

    async def test_behind_certificates_of_ones_own(self, tmp_path: Path) -> None:
        authority = self_signed("authority")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        context = tls(authority.issue("issuer", hosts=("127.0.0.1",)), tmp_path)
        async with serving({"/k": key_set(ONE)}, tls=context) as keys:
            url = keys.url("/k")
            async with issuer(jwks_url=url, ca_file=tmp_path / "ca.pem") as place:
                assert await place.says() == "issuer:ci:job-1"
            async with issuer(jwks_url=url) as place:
                assert "its certificate is not trusted" in await place.says()
            async with issuer(jwks_url=url, ca_file=tmp_path / "none.pem") as place:
                assert "none.pem cannot be read: No such file" in await place.says()


class TestWhenTheyAreFetched:
    async def test_once_for_many_tokens_at_once(self) -> None:
        async with issuer() as place:
            said = await asyncio.gather(*(place.says() for _ in range(20)))
            assert set(said) == {"issuer:ci:job-1"}
            assert place.fetched == 1

    async def test_for_a_key_that_is_not_known_once_a_minute(self) -> None:
        async with issuer() as place:
            assert await place.says() == "issuer:ci:job-1"
            for _ in range(3):
                assert await place.says(TWO) == "TokenInvalid: its key is none of its issuer's"
            assert place.fetched == 1
            place.clock.at += MINUTE
            place.host.routes["/keys"] = key_set(ONE, TWO)
            assert await place.says(TWO) == "issuer:ci:job-1"
            assert await place.says(ONE) == "issuer:ci:job-1"
            assert place.fetched == 2

    async def test_again_each_hour_while_they_are_used(self) -> None:
        async with issuer() as place:
            await place.says()
            place.host.routes["/keys"] = key_set(TWO)
            place.clock.at += HOUR - MINUTE
            assert await place.says() == "issuer:ci:job-1"
            assert place.fetched == 1
            place.clock.at += MINUTE
            # Whoever comes first does not wait for it.
            assert await place.says() == "issuer:ci:job-1"
            await place.settle()
            assert place.fetched == 2
            assert await place.says(TWO) == "issuer:ci:job-1"
            assert await place.says(ONE) == "TokenInvalid: its key is none of its issuer's"
            assert place.fetched == 2

    async def test_a_token_that_is_remembered_ends_with_its_key(self) -> None:
        async with issuer() as place:
            token = place.token(exp=int((place.clock.at + 2 * HOUR).timestamp()))
            await place.issuers.verify(token)
            place.host.routes["/keys"] = key_set(TWO)
            place.clock.at += MINUTE
            assert await place.says(TWO) == "issuer:ci:job-1"
            with pytest.raises(TokenInvalid, match="its key is none of its issuer's"):
                await place.issuers.verify(token)

    async def test_not_for_tokens_that_could_not_be_good(self) -> None:
        async with issuer() as place:
            for token in (
                place.token(aud="else"),
                place.token(exp=1),
                ONE.token({"iss": place.issuer}, alg="HS256"),
                "no token",
            ):
                with pytest.raises(TokenInvalid):
                    await place.issuers.verify(token)
            assert place.host.requests == []

    async def test_one_who_leaves_does_not_end_it_for_the_others(self) -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(writer: asyncio.StreamWriter) -> None:
            asked.set()
            await go_on.wait()
            writer.write(key_set(ONE))
            await writer.drain()

        async with issuer(slow) as place:
            first, second = (asyncio.create_task(place.says()) for _ in range(2))
            await asked.wait()
            first.cancel()
            go_on.set()
            assert await second == "issuer:ci:job-1"
            assert first.cancelled()

    async def test_the_end_of_the_server_ends_it(self) -> None:
        asked = asyncio.Event()

        async def never(writer: asyncio.StreamWriter) -> None:
            asked.set()
            await asyncio.Event().wait()

        async with issuer(never) as place:
            waiting = asyncio.create_task(place.says())
            await asked.wait()
            await place.issuers.aclose()
            await asyncio.wait([waiting])
            assert waiting.cancelled()


class TestWhenItIsDown:
    async def test_keys_that_are_known_count_on(self, caplog: pytest.LogCaptureFixture) -> None:
        async with issuer() as place:
            await place.says()
            place.host.routes["/keys"] = answer(status="503 Down")
            place.clock.at += HOUR
            assert await place.says() == "issuer:ci:job-1"
            await place.settle()
            assert await place.says() == "issuer:ci:job-1"
            assert "it answered 503" in await place.says(TWO)
            failed = [one for one in caplog.records if one.msg == "issuer.unavailable"]
            assert len(failed) == 1
            # It is asked again after a minute, not after an hour.
            place.host.routes["/keys"] = key_set(ONE, TWO)
            place.clock.at += MINUTE
            assert await place.says() == "issuer:ci:job-1"
            await place.settle()
            assert await place.says(TWO) == "issuer:ci:job-1"

    async def test_before_any_is_known_it_is_asked_once_a_minute(self) -> None:
        async with issuer(answer(status="500 Oh")) as place:
            why = f"127.0.0.1:{place.host.port}: it answered 500"
            wanted = f"SourceUnavailable: the keys of issuer ci are not known: {why}"
            for _ in range(3):
                assert await place.says() == wanted
            assert place.fetched == 1
            place.host.routes["/keys"] = key_set(ONE)
            assert await place.says() == wanted
            place.clock.at += MINUTE
            assert await place.says() == "issuer:ci:job-1"

    async def test_that_keys_are_new_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        async with issuer() as place:
            for _ in range(2):
                await place.says()
                place.clock.at += HOUR
                await place.settle()
            told = [getattr(one, "fields", {}) for one in caplog.records if one.msg == "issuer.fetched"]
            assert told == [{"issuer": "ci", "keys": 1}]


async def hang(writer: asyncio.StreamWriter) -> None:
    """Say nothing, for ever."""
    await asyncio.Event().wait()


class TestLies:
    """An issuer that answers anything but its keys: nothing of it is believed, and it costs little."""

    LARGE = json_answer(b'{"keys": [' + b" " * (10 << 20) + b"]}")
    SYMMETRIC: dict[str, Any] = {"keys": [{"kty": "oct", "k": "AAAA", "kid": "one", "alg": "HS256"}]}
    TINY: dict[str, Any] = {"keys": [{"kty": "RSA", "kid": "one", "n": "wQ" + "EB" * 42, "e": "AQAB"}]}
    CASES: dict[str, tuple[bytes | Script, str]] = {
        "ten megabytes": (LARGE, "more than 262144 bytes"),
        "HTML": (answer(b"<html>", Content_Type="text/html"), "does not say that it is JSON"),
        "no JSON": (json_answer(b"<html>"), "is not JSON"),
        "deep JSON": (json_answer(b"[" * 100_000), "is not JSON"),
        "a redirect to itself": (redirect("/keys"), "redirects more than 5 times"),
        "a redirect elsewhere": (redirect("http://127.0.0.1:1/keys"), "redirects to another host"),
        "a redirect to metadata": (redirect("http://169.254.169.254/"), "redirects to another host"),
        "a redirect to a file": (redirect("file:///etc/passwd"), "redirects to what is no address"),
        "no keys": (json_answer(b'{"keys": []}'), "none of its keys can verify a signature"),
        "symmetric keys": (json_answer(json.dumps(SYMMETRIC).encode()), "none of its keys can verify"),
        "tiny keys": (json_answer(json.dumps(TINY).encode()), "none of its keys can verify"),
        "many keys": (json_answer(json.dumps({"keys": [ONE.jwk] * 101}).encode()), "101 keys"),
    }

    @pytest.mark.parametrize("name", CASES)
    async def test_before_any_key_is_known(self, name: str) -> None:
        sent, reason = self.CASES[name]
        async with issuer(sent) as place:
            said = await place.says()
            assert said.startswith("SourceUnavailable: the keys of issuer ci are not known: ")
            assert reason in said

    @pytest.mark.parametrize("name", CASES)
    async def test_afterwards(self, name: str) -> None:
        async with issuer() as place:
            await place.says()
            place.host.routes["/keys"] = self.CASES[name][0]
            place.clock.at += HOUR
            assert await place.says() == "issuer:ci:job-1"
            await place.settle()
            assert await place.says() == "issuer:ci:job-1"

    async def test_two_keys_of_one_name(self) -> None:
        twice = [{**signer.jwk, "kid": "one"} for signer in (ONE, TWO)]
        async with issuer(json_answer(json.dumps({"keys": twice}).encode())) as place:
            assert await place.says() == "TokenInvalid: its key is none of its issuer's"

    async def test_one_that_hangs_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("registry.access.trust.issuer_keys._SECONDS", 0.2)
        async with issuer(hang) as place:
            assert "it did not answer within 0.2 s" in await place.says()

    @pytest.mark.parametrize(
        ("discovery", "reason"),
        [
            ({"issuer": "https://else.test"}, "is another issuer's, or none"),
            ({"issuer": None}, "is another issuer's, or none"),
            ({"jwks_uri": None}, "does not say where its keys are"),
            ({"jwks_uri": ["/keys"]}, "does not say where its keys are"),
            ({"jwks_uri": "/keys"}, "on another host, at '/keys'; if so, set jwks_url"),
            ({"jwks_uri": "https://else.test/keys"}, "on another host"),
            ({"jwks_uri": "http://127.0.0.1/keys"}, "on another host"),
            ({"jwks_uri": "file:///etc/passwd"}, "on another host"),
            (json_answer(b"[]"), "is another issuer's, or none"),
            (answer(status="404 Not Found"), "it answered 404"),
            (redirect("http://127.0.0.1:1/"), "redirects to another host"),
        ],
    )
    async def test_of_where_they_are(self, discovery: dict[str, Any] | bytes, reason: str) -> None:
        async with issuer(discovery=discovery) as place:
            assert reason in await place.says()
            assert place.fetched == 0

    async def test_with_what_begins_like_its_own_host(self) -> None:
        async with issuer() as place:
            document = {"issuer": place.issuer, "jwks_uri": f"{place.issuer}.evil.test/keys"}
            place.host.routes[DISCOVERY] = json_answer(json.dumps(document).encode())
            assert "on another host" in await place.says()
            document["jwks_uri"] = f"{place.issuer}@evil.test/keys"
            place.host.routes[DISCOVERY] = json_answer(json.dumps(document).encode())
            place.clock.at += MINUTE
            assert "on another host" in await place.says()


async def test_this_machine_is_not_asked_unless_it_is_listed() -> None:
    async with issuer(allow="127.0.0.9") as place:
        assert "127.0.0.1 is not connected to" in await place.says()
        assert place.host.requests == []


async def test_a_name_that_moves_here_is_not_followed() -> None:
    """The issuer's name led elsewhere when it was trusted, and leads to this machine now."""
    names = Names({"issuer.test": [["127.0.0.1"], ["127.0.0.2"]]})
    async with serving({"/keys": key_set(ONE)}) as host:
        host.routes["/keys"] = key_set(ONE).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        settings = IssuerSettings.model_validate(
            {
                "name": "ci",
                "issuer": "https://issuer.test",
                "audience": AUDIENCE,
                "claims": {"sub": "job-*"},
            }
        ).model_copy(update={"jwks_url": host.url("/keys", host="issuer.test")})
        clock = Clock()
        egress = Egress([ipaddress.ip_network("127.0.0.1")], lambda: names)
        made = Issuers.of([settings], egress, now=clock.now, clock=clock.seconds)
        place = Place(host, made, clock, "https://issuer.test")
        assert await place.says() == "issuer:ci:job-1"
        clock.at += MINUTE
        assert "127.0.0.2 is not connected to" in await place.says(TWO)
        assert await place.says() == "issuer:ci:job-1"
