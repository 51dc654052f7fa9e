"""How another registry is shown who asks, and who else is shown it: nobody."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import os
import ssl
import traceback
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.model.names import RepositoryName
from registry.remote import authorization
from registry.remote.egress import Egress
from registry.remote.upstream import Endpoint, Upstream, UpstreamError
from tests.certificates import self_signed
from tests.remote.hosts import Host, Reply, Route, answer, redirect, serving
from tests.remote.registries import (
    BLOB,
    BLOB_PATH,
    MANIFEST,
    NAME,
    TAG,
    TAG_PATH,
    TAGS_PATH,
    Asked,
    Clock,
    asking,
    document,
    failure,
    guarded,
    manifest,
)

OTHER = RepositoryName("team/other")
OTHER_PATH = f"/v2/{OTHER}/manifests/{TAG}"
USER, PASSWORD = "canary-user", f"canary-{os.urandom(8).hex()}"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
WHO: dict[str, Any] = {"username": USER, "password": PASSWORD}
SECRETS = (USER, PASSWORD, BASIC[6:], "canary")


class Tokens:
    """A token service that gives a new token each time, and knows which of them are good."""

    def __init__(self, **more: object) -> None:
        self.given: list[str] = []
        self.good: set[str] = set()
        self._more = more
        self.reply = Reply(self._made)

    def _made(self, _: str) -> bytes:
        self.given.append(f"canary-{len(self.given)}")
        self.good.add(self.given[-1])
        return document({"token": self.given[-1], **self._more})

    def let_in(self, told: str | None) -> bool:
        return told is not None and told.removeprefix("Bearer ") in self.good


def bearer(host: Host | None = None, **more: str) -> str:
    """A challenge; without a host that of whoever sends it."""
    port = "PORT" if host is None else host.port
    parameters = {"realm": f"http://127.0.0.1:{port}/token", "service": "a service", **more}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def here(route: Reply) -> Reply:
    """With the host's own port where a challenge names it."""

    def made(head: str) -> bytes:
        port = head.partition("Host: 127.0.0.1:")[2].partition("\r\n")[0]
        return route.make(head).replace(b"PORT", port.encode())

    return Reply(made)


def routes(tokens: Tokens, challenge: str | None = None) -> dict[str, Route]:
    """Of a registry with two repositories, and its token service."""
    told = bearer() if challenge is None else challenge
    guard = here(guarded(tokens.let_in, told, manifest()))
    return {TAG_PATH: guard, OTHER_PATH: guard, "/token": tokens.reply}


async def ask(asked: Asked, name: RepositoryName = NAME) -> None:
    assert (await asked.upstream.manifest(name, TAG)).content == MANIFEST


async def refused(asked: Asked, name: RepositoryName = NAME) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await asked.upstream.manifest(name, TAG)
    told = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert not any(secret in told for secret in SECRETS)
    return raised.value


def queries(host: Host, path: str = "/token") -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(head.split(" ")[1]).query, strict_parsing=True) for head in host.asked(path)]


class TestTokens:
    async def test_somebody_asks_with_name_and_password(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens), **WHO) as asked:
            await ask(asked)
            assert queries(asked.host) == [
                {"service": ["a service"], "scope": [f"repository:{NAME}:pull"], "account": [USER]}
            ]
            assert f"Authorization: {BASIC}\r\n" in asked.host.asked("/token")[0]
            first, second = asked.host.asked(TAG_PATH)
            assert "Authorization" not in first
            assert "Authorization: Bearer canary-0\r\n" in second

    async def test_nobody_in_particular_asks_too(self) -> None:
        async with asking(routes(Tokens())) as asked:
            await ask(asked)
            assert queries(asked.host) == [{"service": ["a service"], "scope": [f"repository:{NAME}:pull"]}]
            assert "Authorization" not in asked.host.asked("/token")[0]

    async def test_only_to_pull_whatever_is_told(self) -> None:
        told = bearer(scope="repository:secret/app:pull,push repository:a:delete")
        async with asking(routes(Tokens(), told), **WHO) as asked:
            await ask(asked)
            assert queries(asked.host)[0]["scope"] == [f"repository:{NAME}:pull"]

    async def test_one_is_used_for_its_repository_until_it_ends(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens)) as asked:
            for _ in range(3):
                await ask(asked)
            assert (len(tokens.given), len(asked.host.asked(TAG_PATH))) == (1, 4)
            # Of another repository it is known how to ask.
            await ask(asked, OTHER)
            assert (len(tokens.given), len(asked.host.asked(OTHER_PATH))) == (2, 1)
            asked.clock.seconds += 269
            await ask(asked)
            assert len(tokens.given) == 2
            asked.clock.seconds += 2
            await ask(asked)
            assert (len(tokens.given), len(asked.host.asked(TAG_PATH))) == (3, 6)

    @pytest.mark.parametrize(
        ("told", "seconds"),
        [
            ({}, 60),
            ({"expires_in": 600}, 600),
            ({"expires_in": 600.0}, 600),
            ({"expires_in": 0}, 60),
            ({"expires_in": -5}, 60),
            ({"expires_in": "600"}, 60),
            ({"expires_in": True}, 60),
            ({"expires_in": None}, 60),
            ({"expires_in": 10**9}, 3600),
            ({"expires_in": 10**400}, 3600),
        ],
    )
    async def test_how_long_one_is_kept(self, told: dict[str, object], seconds: float) -> None:
        tokens = Tokens(**told)
        async with asking(routes(tokens)) as asked:
            await ask(asked)
            asked.clock.seconds += seconds * 0.9 - 1
            await ask(asked)
            assert len(tokens.given) == 1
            asked.clock.seconds += 2
            await ask(asked)
            assert len(tokens.given) == 2

    async def test_one_that_is_refused_is_replaced_once(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens)) as asked:
            await ask(asked)
            tokens.good.clear()
            await ask(asked)
            assert (len(tokens.given), len(asked.host.asked(TAG_PATH))) == (2, 4)

    async def test_one_that_is_refused_again_is_not(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens)) as asked:
            tokens.let_in = lambda told: False  # type: ignore[method-assign]
            asked.host.routes |= routes(tokens)
            error = await refused(asked)
            assert error.cause == "refusing" and error.status == 401
            assert error.reason == "it answered 401 (UNAUTHORIZED), asked without a name and a password"
            assert (len(tokens.given), len(asked.host.asked(TAG_PATH))) == (1, 2)
            await refused(asked)
            assert (len(tokens.given), len(asked.host.asked(TAG_PATH))) == (2, 4)

    async def test_who_asks_at_once_asks_for_one_together(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens)) as asked:
            await asyncio.gather(*(ask(asked) for _ in range(20)))
            assert len(tokens.given) == 1
            tokens.good.clear()
            await asyncio.gather(*(ask(asked) for _ in range(20)))
            assert len(tokens.given) == 2

    async def test_who_leaves_does_not_end_it_for_the_others(self) -> None:
        tokens = Tokens(expires_in=300)
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow(writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await go_on.wait()
            writer.write(tokens.reply.make(""))
            await writer.drain()

        async with asking({**routes(tokens), "/token": slow}) as asked:
            first = asyncio.create_task(ask(asked))
            await arrived.wait()
            others = [asyncio.create_task(ask(asked)) for _ in range(3)]
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            go_on.set()
            await asyncio.gather(*others)
            assert len(tokens.given) == 1

    async def test_one_that_nobody_waits_for_any_more_fails_unheard(self) -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def breaking(writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await go_on.wait()

        unheard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unheard.append(told))
        async with asking({**routes(Tokens()), "/token": breaking}) as asked:
            task = asyncio.create_task(ask(asked))
            await arrived.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            go_on.set()
            await asyncio.wait([one for one in asyncio.all_tasks() if one.get_name().startswith("a token")])
        gc.collect()
        assert unheard == []

    async def test_not_many_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(authorization, "_MOST_TOKENS", 3)
        tokens = Tokens(expires_in=3600)
        names = [RepositoryName(f"r/{number}") for number in range(4)]
        guard = here(guarded(tokens.let_in, bearer(), manifest()))
        paths: dict[str, Route] = {f"/v2/{name}/manifests/{TAG}": guard for name in names}
        async with asking({**paths, "/token": tokens.reply}) as asked:
            for name in names:
                await ask(asked, name)
            await ask(asked, names[1])
            assert len(tokens.given) == 4
            await ask(asked, names[0])
            assert len(tokens.given) == 5


class TestTokenServices:
    """What they answer."""

    @pytest.mark.parametrize("key", ["token", "access_token"])
    async def test_a_token_has_two_names(self, key: str) -> None:
        tokens = Tokens()
        tokens.good.add("canary-x")
        async with asking({**routes(tokens), "/token": document({key: "canary-x"})}) as asked:
            await ask(asked)

    @pytest.mark.parametrize(
        ("sent", "cause"),
        [
            (failure("401 Unauthorized"), "refusing"),
            (failure("403 Forbidden"), "refusing"),
            (failure("400 Bad Request"), "refusing"),
            (failure("404 Not Found"), "refusing"),
            (failure("500 Oh"), "failing"),
            (failure("503 Busy", Retry_After="9"), "failing"),
            (answer(b"<html>"), "lying"),
            (answer(b"[" * 9999), "lying"),
            (document([]), "lying"),
            (document({}), "lying"),
            (document({"token": ""}), "lying"),
            (document({"token": 7}), "lying"),
            (document({"token": "a b"}), "lying"),
            (document({"token": "a\r\nX: y"}), "lying"),
            (document({"token": "\u00e4"}), "lying"),
            (document({"token": "x" * 20_000}), "lying"),
            (document({"token": "x" * 200_000}), "lying"),
            (redirect("http://127.0.0.2/"), "lying"),
        ],
    )
    async def test_what_is_no_token(self, sent: bytes, cause: str) -> None:
        async with asking({**routes(Tokens()), "/token": sent}, **WHO) as asked:
            error = await refused(asked)
            assert error.cause == cause, error
            if cause == "refusing":
                assert "no token for the name and the password" in error.reason
            assert len(asked.host.asked(TAG_PATH)) == 1

    async def test_one_that_failed_is_not_asked_before_the_registry(self) -> None:
        """It may tell of another by then, or want nothing any more."""
        tokens = Tokens()
        async with asking(routes(tokens)) as asked:
            await ask(asked)
            asked.clock.seconds += 60
            asked.host.routes["/token"] = failure("500 Oh")
            await refused(asked)
            asked.host.routes |= {TAG_PATH: manifest()}
            await ask(asked)
            assert len(asked.host.asked("/token")) == 2
            asked.host.routes |= {
                **routes(tokens, bearer(realm="http://127.0.0.1:PORT/new")),
                "/new": tokens.reply,
            }
            await ask(asked)
            assert len(asked.host.asked("/new")) == 1

    async def test_one_that_is_asked_too_often_is_left_alone(self) -> None:
        limited = failure("429 Too Many Requests", Retry_After="30")
        async with asking({**routes(Tokens()), "/token": limited}) as asked:
            error = await refused(asked)
            assert (error.cause, error.retry_after_seconds) == ("limited", 30)
            assert asked.upstream.limited_until == asked.clock.seconds + 30

    async def test_one_that_does_not_answer_is_not_waited_for(self) -> None:
        async def silent(writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        async with asking({**routes(Tokens()), "/token": silent}, head_seconds=0.3) as asked:
            assert (await refused(asked)).cause == "slow"

    async def test_its_address_may_have_a_query(self) -> None:
        told = bearer(realm="http://127.0.0.1:PORT/token?a=b&c=%2F#x")
        async with asking(routes(Tokens(), told)) as asked:
            await ask(asked)
            assert queries(asked.host)[0]["a"] == ["b"] and queries(asked.host)[0]["c"] == ["/"]

    async def test_what_is_put_into_its_address_stays_a_value(self) -> None:
        told = bearer(service="a&scope=repository:b:push#")
        async with asking(routes(Tokens(), told)) as asked:
            await ask(asked)
            assert queries(asked.host)[0]["service"] == ["a&scope=repository:b:push#"]
            assert queries(asked.host)[0]["scope"] == [f"repository:{NAME}:pull"]


class TestBoundary:
    """Whom else name, password and tokens are given to."""

    async def test_another_host_is_not_asked_for_tokens(self) -> None:
        async with serving({"/token": document({"token": "canary"})}) as other:
            async with asking(routes(Tokens(), bearer(other)), **WHO) as asked:
                error = await refused(asked)
                assert error.cause == "lying"
                assert f"127.0.0.1:{asked.host.port}: " in str(error)
                assert f"http://127.0.0.1:{other.port}" in str(error) and "upstreams[].realms" in str(error)
            assert other.requests == []

    async def test_unless_it_is_listed(self) -> None:
        tokens = Tokens()
        async with serving({"/token": tokens.reply}) as other:
            realms = (f"127.0.0.1:{other.port}",)
            async with asking(routes(tokens, bearer(other)), **WHO, realms=realms) as asked:
                await ask(asked)
                assert f"Authorization: {BASIC}\r\n" in other.requests[0]
                assert not any(BASIC in head for head in asked.host.requests)

    async def test_a_token_service_that_sends_elsewhere_is_not_followed(self) -> None:
        async with serving({"/": document({"token": "canary"})}) as other:
            async with asking({**routes(Tokens()), "/token": redirect(other.url())}, **WHO) as asked:
                error = await refused(asked)
                assert error.cause == "lying" and "redirects to another host" in error.reason
            assert other.requests == []

    @pytest.mark.parametrize(
        "realm", ["", "/token", "token", "ftp://a/", "http://a b/", "https://me:pw@a/", "http://"]
    )
    async def test_what_is_no_address_is_not_asked(self, realm: str) -> None:
        async with asking(routes(Tokens(), bearer(realm=realm)), **WHO) as asked:
            error = await refused(asked)
            assert error.cause == "lying" and "a token service that is none" in error.reason

    @pytest.mark.parametrize(
        ("url", "realms", "realm", "trusted"),
        [
            ("https://a.example", (), "https://a.example/token", True),
            ("https://a.example", (), "https://A.example:443/token", True),
            ("https://a.example:443/x", (), "https://a.example/token", True),
            ("https://a.example", (), "http://a.example/token", False),
            ("http://a.example", (), "http://a.example/token", True),
            ("http://a.example", (), "https://a.example/token", True),
            ("https://a.example", (), "https://a.example:5000/token", False),
            ("https://a.example:5000", (), "https://a.example/token", False),
            ("https://a.example", (), "https://b.a.example/token", False),
            ("https://a.example", (), "https://a.example.evil/token", False),
            ("https://a.example", ("b.example",), "https://b.example/token", True),
            ("https://a.example", ("b.example",), "http://b.example/token", False),
            ("http://a.example", ("b.example",), "http://b.example/token", True),
            ("https://a.example", ("b.example",), "https://b.example:444/token", False),
            ("https://a.example", ("b.example:444",), "https://b.example:444/token", True),
            ("https://a.example", ("b.example:444",), "https://b.example/token", False),
            ("https://a.example", ("[fd00::1]:444",), "https://[fd00::1]:444/token", True),
            ("https://registry-1.docker.io", (), "https://auth.docker.io/token", True),
            ("https://registry-1.docker.io", (), "http://auth.docker.io/token", False),
            ("https://registry-2.docker.io", (), "https://auth.docker.io/token", False),
        ],
    )
    def test_who_may_be_asked(self, url: str, realms: tuple[str, ...], realm: str, trusted: bool) -> None:
        assert Endpoint(url, realms=realms).trusts(urlsplit(realm)) is trusted

    @pytest.mark.parametrize("name", ["", "https://a", "a/b", "a b", "me@a", "a?b", "a:x"])
    def test_what_cannot_be_listed(self, name: str) -> None:
        with pytest.raises(ValueError, match="a realm is a host"):
            Endpoint("https://a.example", realms=(name,))

    async def test_tls_is_not_left(self, tmp_path: Path) -> None:
        authority = self_signed("authority")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        files = authority.issue("host", hosts=("127.0.0.1",)).write(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["certificate"], files["key"])
        tokens = Tokens()
        async with (
            serving(routes(tokens), tls=context) as host,
            Egress([ip_network("127.0.0.0/8")]).client(tmp_path / "ca.pem") as client,
        ):
            upstream = Upstream(client, Endpoint(host.url(""), **WHO), clock=Clock())
            error = await refused(Asked(upstream, host))
            assert error.cause == "lying" and "its scheme has to be https" in error.reason
            assert tokens.given == []

    async def test_a_store_is_shown_nothing(self) -> None:
        tokens = Tokens()
        async with serving({"/": answer(BLOB)}) as store, asking({}, **WHO) as asked:
            blob = here(guarded(tokens.let_in, bearer(), redirect(store.url())))
            asked.host.routes |= {BLOB_PATH: blob, "/token": tokens.reply}
            assert await asked.blob() == BLOB
            assert len(store.requests) == 1 and "uthorization" not in store.requests[0]

    @pytest.mark.parametrize("challenge", [bearer(), 'Basic realm="store"'])
    async def test_a_store_that_asks_for_something_is_given_nothing(self, challenge: str) -> None:
        guard = here(guarded(lambda _: False, challenge, b""))
        async with serving({"/": guard, "/token": document({"token": "canary"})}) as store:
            async with asking({BLOB_PATH: redirect(store.url())}, **WHO) as asked:
                with pytest.raises(UpstreamError) as raised:
                    await asked.blob()
                assert raised.value.cause == "refusing"
                assert raised.value.host == f"127.0.0.1:{store.port}"
            assert [head.split(" ")[1] for head in store.requests] == ["/"]
            assert BASIC not in store.requests[0]

    async def test_pages_of_another_host_are_read_without_showing_anything(self) -> None:
        """Where a registry sends to another one, as registry.k8s.io does."""

        def listed(head: str) -> bytes:
            if "last=a" in head:
                return document({"tags": ["b"]})
            return document({"tags": ["a"]}, Link=f'<{TAGS_PATH}?last=a>; rel="next"')

        tokens = Tokens(expires_in=300)
        async with serving({TAGS_PATH: Reply(listed)}) as other, asking(routes(tokens), **WHO) as asked:
            await ask(asked)
            asked.host.routes[TAGS_PATH] = here(
                guarded(tokens.let_in, bearer(), redirect(other.url(TAGS_PATH)))
            )
            assert await asked.upstream.tags(NAME) == ["a", "b"]
            assert len(other.requests) == 2
            assert not any("uthorization" in head for head in other.requests)
            # Nor when it asks for it.
            other.routes[TAGS_PATH] = here(guarded(lambda _: False, bearer(), b""))
            with pytest.raises(UpstreamError) as raised:
                await asked.upstream.tags(NAME)
            assert (raised.value.cause, raised.value.host) == ("refusing", f"127.0.0.1:{other.port}")


class TestBasic:
    CHALLENGE = 'Basic realm="somewhere"'

    def routes(self, allowed: Callable[[str | None], bool] = lambda told: told == BASIC) -> dict[str, Route]:
        guard = guarded(allowed, self.CHALLENGE, manifest())
        return {TAG_PATH: guard, OTHER_PATH: guard}

    async def test_it_is_sent_once_it_is_asked_for(self) -> None:
        async with asking(self.routes(), **WHO) as asked:
            await ask(asked)
            await ask(asked, OTHER)
            assert [BASIC in head for head in asked.host.requests] == [False, True, True]

    async def test_it_is_sent_once_and_no_more_where_it_is_not_taken(self) -> None:
        async with asking(self.routes(lambda _: False), **WHO) as asked:
            error = await refused(asked)
            assert (error.cause, error.reason) == ("refusing", "it answered 401 (UNAUTHORIZED)")
            assert len(asked.host.requests) == 2
            # It is known by then that it will be asked for, and was not taken.
            error = await refused(asked)
            assert error.cause == "refusing" and len(asked.host.requests) == 3
            assert error.reason == "it does not take the name and the password"

    async def test_it_is_asked_anew_what_it_takes(self) -> None:
        async with asking(self.routes(lambda _: False), **WHO) as asked:
            for _ in range(2):
                await refused(asked)
            asked.host.routes |= self.routes(lambda told: told is None)
            await ask(asked)
            assert BASIC not in asked.host.requests[-1]

    async def test_who_has_none_is_told_where_to_put_it(self) -> None:
        async with asking(self.routes()) as asked:
            error = await refused(asked)
            assert error.cause == "refusing" and "upstreams[].username" in error.reason


class TestChallenges:
    @pytest.mark.parametrize(
        "challenge",
        [
            'bearer REALM="http://127.0.0.1:PORT/token", Service="s"',
            'Bearer   realm = "http://127.0.0.1:PORT/token" , service = "s"',
            "Bearer realm=http://127.0.0.1:PORT/token,service=s",
            'Bearer realm="http://127.0.0.1:PORT/to\\ken",service="s",error="invalid_token"',
            'Negotiate abc==, Basic realm="x, y=z", Bearer realm="http://127.0.0.1:PORT/token"',
            'Negotiate, Bearer realm="http://127.0.0.1:PORT/token"',
            'Basic realm="Bearer", Bearer realm="http://127.0.0.1:PORT/token"',
        ],
    )
    async def test_each_is_met(self, challenge: str) -> None:
        async with asking(routes(Tokens(), challenge)) as asked:
            await ask(asked)

    @pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="x"', '"', "=,=", "Bear er"])
    async def test_what_is_none_is_refused(self, challenge: str) -> None:
        async with asking(routes(Tokens(), challenge), **WHO) as asked:
            error = await refused(asked)
            assert error.cause == "refusing" and "not by what it wants to be shown" in error.reason

    async def test_another_one_counts_from_then_on(self) -> None:
        tokens = Tokens(expires_in=300)
        async with asking(routes(tokens), **WHO) as asked:
            await ask(asked)
            asked.host.routes |= TestBasic().routes()
            await ask(asked)
            await ask(asked)
            assert BASIC in asked.host.requests[-1] and len(tokens.given) == 1


async def test_nothing_of_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = Tokens(expires_in=300)
    async with asking(routes(tokens), **WHO) as asked:
        await ask(asked)
        shown = [
            repr(value) for value in (asked.upstream, vars(asked.upstream), Endpoint("https://a", **WHO))
        ]
        authorized = vars(asked.upstream)["_client"]
        shown += [repr(value) for value in (vars(authorized), vars(vars(authorized)["_authorization"]))]
    for secret in SECRETS:
        assert secret not in "".join(shown) + caplog.text
