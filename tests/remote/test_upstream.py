"""What is read from another registry, and what is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from registry.errors import DigestInvalid
from registry.model import media_types
from registry.model.digests import Digest
from registry.remote.upstream import Cause, Endpoint, RateLimit, UpstreamError
from tests.remote.hosts import Reply, Route, Script, answer, redirect, serving
from tests.remote.registries import (
    BLOB,
    BLOB_DIGEST,
    BLOB_PATH,
    DIGEST_PATH,
    MANIFEST,
    MANIFEST_DIGEST,
    NAME,
    REFERRERS_PATH,
    TAG,
    TAG_PATH,
    TAGS_PATH,
    Asked,
    Clock,
    asking,
    by_header,
    document,
    failure,
    manifest,
)
from tests.remote.test_streaming import waiting, writing

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
Question = Callable[[Asked], Awaitable[object]]

QUESTIONS: dict[str, tuple[str, Question]] = {
    "head of a manifest": (TAG_PATH, lambda asked: asked.upstream.head_manifest(NAME, TAG)),
    "manifest": (TAG_PATH, lambda asked: asked.upstream.manifest(NAME, TAG)),
    "head of a blob": (BLOB_PATH, lambda asked: asked.upstream.head_blob(NAME, BLOB_DIGEST)),
    "blob": (BLOB_PATH, lambda asked: asked.blob()),
    "tags": (TAGS_PATH, lambda asked: asked.upstream.tags(NAME)),
    "referrers": (REFERRERS_PATH, lambda asked: asked.upstream.referrers(NAME, MANIFEST_DIGEST)),
}


async def refused(question: Question, path: str, route: Route, **more: Any) -> UpstreamError:
    """Why an answer is not taken."""
    async with asking({path: route}, **more) as asked:
        with pytest.raises(UpstreamError) as raised:
            await question(asked)
    return raised.value


async def lie(question: str, route: Route, **more: Any) -> str:
    """What is said of an answer that cannot be true."""
    path, ask = QUESTIONS[question]
    error = await refused(ask, path, route, **more)
    assert error.cause == "lying", error
    return error.reason


class TestManifests:
    async def test_by_tag_with_the_digest_that_is_told(self) -> None:
        async with asking({TAG_PATH: manifest(Docker_Content_Digest=str(MANIFEST_DIGEST))}) as asked:
            found = await asked.upstream.manifest(NAME, TAG)
            assert (found.media_type, found.digest, found.content) == (
                media_types.OCI_IMAGE,
                MANIFEST_DIGEST,
                MANIFEST,
            )
            accepted = next(line for line in asked.host.requests[0].split("\r\n") if line[:8] == "Accept: ")
            assert accepted.endswith(", */*") and all(kind in accepted for kind in media_types.MANIFESTS)

    async def test_by_tag_without_one(self) -> None:
        for sent in (manifest(), manifest(Docker_Content_Digest=f"blake3:{'0' * 64}")):
            async with asking({TAG_PATH: sent}) as asked:
                assert (await asked.upstream.manifest(NAME, TAG)).digest == MANIFEST_DIGEST

    async def test_by_sha512(self) -> None:
        digest = Digest.of(MANIFEST, "sha512")
        routes = {
            TAG_PATH: manifest(Docker_Content_Digest=str(digest)),
            f"/v2/{NAME}/manifests/{digest}": manifest(),
        }
        async with asking(routes) as asked:
            assert (await asked.upstream.manifest(NAME, TAG)).digest == digest
            assert (await asked.upstream.manifest(NAME, digest)).digest == digest

    async def test_by_digest_the_bytes_decide(self) -> None:
        async with asking({DIGEST_PATH: manifest(Docker_Content_Digest="nonsense")}) as asked:
            assert (await asked.upstream.manifest(NAME, MANIFEST_DIGEST)).content == MANIFEST

    async def test_by_what_cannot_be_computed_it_is_not_asked_for(self) -> None:
        async with asking({}) as asked:
            with pytest.raises(DigestInvalid):
                await asked.upstream.manifest(NAME, Digest.parse(f"blake3:{'0' * 64}"))
            assert asked.host.requests == []

    async def test_of_another_digest_it_is_not_taken(self) -> None:
        wrong = Digest.of(b"other")
        told = await lie("manifest", manifest(Docker_Content_Digest=str(wrong)))
        assert told == f"its manifest 1 of {NAME} has the digest {MANIFEST_DIGEST}, not {wrong}"
        error = await refused(
            lambda asked: asked.upstream.manifest(NAME, MANIFEST_DIGEST),
            DIGEST_PATH,
            manifest(MANIFEST + b" "),
        )
        assert error.cause == "lying" and f"not {MANIFEST_DIGEST}" in error.reason

    async def test_a_digest_that_is_none_is_not_taken(self) -> None:
        for question in ("manifest", "head of a manifest"):
            told = await lie(question, manifest(Docker_Content_Digest="sha256:1234"))
            assert told.startswith("its Docker-Content-Digest is none")

    async def test_one_that_is_too_large_is_not_read(self) -> None:
        assert await lie("manifest", manifest(), manifest_bytes=50) == "it answered with more than 50 bytes"

    @pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream; charset=utf-8"])
    async def test_of_no_type_it_has_its_own(self, kind: str) -> None:
        async with asking({TAG_PATH: manifest(kind=kind)}) as asked:
            assert (await asked.upstream.manifest(NAME, TAG)).media_type == media_types.OCI_IMAGE

    async def test_its_type_has_no_parameters(self) -> None:
        async with asking({TAG_PATH: manifest(kind=f"{media_types.OCI_IMAGE}; charset=utf-8")}) as asked:
            assert (await asked.upstream.manifest(NAME, TAG)).media_type == media_types.OCI_IMAGE

    @pytest.mark.parametrize(
        ("content", "kind", "reason"),
        [
            (b"<html>log in</html>", "text/html", "it answered with 'text/html', which is no manifest"),
            (b"<html>log in</html>", "", "it answered with 'application/octet-stream', which is no manifest"),
            (MANIFEST, media_types.OCI_INDEX, "and the manifest says that it is"),
            (b"{}", media_types.DOCKER_SCHEMA1_SIGNED, "which is no manifest that is taken here"),
        ],
    )
    async def test_of_a_wrong_type_it_is_not_taken(self, content: bytes, kind: str, reason: str) -> None:
        assert reason in await lie("manifest", manifest(content, kind))

    async def test_its_head_tells_of_it(self) -> None:
        head = manifest(Docker_Content_Digest=str(MANIFEST_DIGEST))
        async with asking({TAG_PATH: head, DIGEST_PATH: head}) as asked:
            for reference in (TAG, MANIFEST_DIGEST):
                found = await asked.upstream.head_manifest(NAME, reference)
                assert (found.digest, found.size_bytes, found.media_type) == (
                    MANIFEST_DIGEST,
                    len(MANIFEST),
                    media_types.OCI_IMAGE,
                )
            assert all(head.startswith("HEAD ") for head in asked.host.requests)

    async def test_its_head_need_not_tell_all(self) -> None:
        async with asking({TAG_PATH: b"HTTP/1.1 200 OK\r\n\r\n"}) as asked:
            found = await asked.upstream.head_manifest(NAME, TAG)
            assert (found.digest, found.size_bytes, found.media_type) == (None, None, "")

    async def test_a_head_of_another_digest_is_not_believed(self) -> None:
        error = await refused(
            lambda asked: asked.upstream.head_manifest(NAME, MANIFEST_DIGEST),
            DIGEST_PATH,
            answer(Docker_Content_Digest=str(Digest.of(b"other"))),
        )
        assert error.cause == "lying"
        # One of another kind may be of the same bytes.
        other = str(Digest.of(MANIFEST, "sha512"))
        async with asking({DIGEST_PATH: answer(Docker_Content_Digest=other)}) as asked:
            assert str((await asked.upstream.head_manifest(NAME, MANIFEST_DIGEST)).digest) == other


def ranged(told: str, body: bytes, **more: Any) -> bytes:
    return answer(body, status="206 Partial Content", Content_Range=told, **more)


class TestBlobs:
    async def test_whole(self) -> None:
        async with asking({BLOB_PATH: answer(BLOB)}) as asked:
            assert await asked.blob() == BLOB
            assert await asked.upstream.head_blob(NAME, BLOB_DIGEST) == len(BLOB)
            assert "Range" not in asked.host.requests[0]

    async def test_from_a_byte_on(self) -> None:
        last = len(BLOB) - 1
        made = by_header("range", lambda told: ranged(f"bytes 1000-{last}/{len(BLOB)}", BLOB[1000:]))
        async with asking({BLOB_PATH: made}) as asked:
            assert await asked.blob(1000) == BLOB[1000:]
            assert "Range: bytes=1000-\r\n" in asked.host.requests[0]

    async def test_from_a_byte_on_where_ranges_are_not_known(self) -> None:
        async def script(writer: asyncio.StreamWriter) -> None:
            await writing(
                answer(length=len(BLOB)), *(BLOB[at : at + 300] for at in range(0, len(BLOB), 300))
            )(writer)

        async with asking({BLOB_PATH: script}) as asked:
            for start in (1, 299, 300, 301, 1000, len(BLOB)):
                assert await asked.blob(start) == BLOB[start:]

    @pytest.mark.parametrize(
        "sent",
        [
            ranged("bytes 999-10239/10240", BLOB[1000:]),
            ranged("bytes 1001-10239/10240", BLOB[1000:]),
            ranged("bytes 1000-10238/10240", BLOB[1000:]),
            ranged("bytes 1000-10239/*", BLOB[1000:]),
            ranged("bytes 1000-10239/10240", BLOB[1000:-1]),
            ranged("bytes 1000-10239/10240", BLOB),
            ranged("bytes 1000-10240/10240", BLOB),
            ranged("bytes */10240", b""),
            ranged("chapters 1000-10239/10240", BLOB[1000:]),
            ranged("bytes 1000-10239/1024\u0660", BLOB[1000:]),
            answer(BLOB[1000:], status="206 Partial Content"),
            b"HTTP/1.1 206 P\r\nContent-Range: bytes 1000-10239/10240\r\n" + CHUNKED,
        ],
        ids=[
            "before",
            "behind",
            "short",
            "size",
            "fewer",
            "more",
            "end",
            "none",
            "unit",
            "digit",
            "told",
            "chunked",
        ],
    )
    async def test_another_range_is_not_taken(self, sent: bytes) -> None:
        error = await refused(lambda asked: asked.blob(1000), BLOB_PATH, sent)
        assert error.cause == "lying" and error.reason.startswith(
            "asked for the bytes from 1000 on it answered"
        )

    @pytest.mark.parametrize("sent", [answer(b"x" * 999), failure("416 Range Not Satisfiable")])
    async def test_one_that_ends_before_is_not_taken(self, sent: bytes) -> None:
        error = await refused(lambda asked: asked.blob(1000), BLOB_PATH, sent)
        assert error.cause == "lying" and "ends before byte 1000" in error.reason

    async def test_a_range_that_nobody_asked_for_is_not_taken(self) -> None:
        error = await refused(lambda asked: asked.blob(), BLOB_PATH, ranged("bytes 0-10239/10240", BLOB))
        assert error.cause == "failing"

    @pytest.mark.parametrize(
        "head",
        [CHUNKED, b"Connection: close\r\n\r\nhello"],
        ids=["chunked", "until it closes"],
    )
    async def test_of_no_length_it_is_not_taken(self, head: bytes) -> None:
        told = await lie("blob", writing(b"HTTP/1.1 200 OK\r\n" + head))
        assert told == "it does not say how long what it answers is (Content-Length)"
        await lie("head of a blob", b"HTTP/1.1 200 OK\r\n\r\n")

    async def test_fewer_bytes_than_it_said(self) -> None:
        question = QUESTIONS["blob"][1]
        error = await refused(question, BLOB_PATH, writing(answer(BLOB[:-1], length=len(BLOB))))
        assert error.cause == "unreachable" and error.reason == "the connection broke"

    async def test_more_bytes_than_it_said(self) -> None:
        """What follows is no part of it, and of no other answer."""
        for pieces in ([BLOB + b"more"], [BLOB, b"more"]):
            async with asking({BLOB_PATH: writing(answer(length=len(BLOB)), *pieces)}) as asked:
                with suppress(UpstreamError):
                    assert await asked.blob() == BLOB
                asked.host.routes[BLOB_PATH] = answer(BLOB)
                assert await asked.blob() == BLOB

    async def test_two_lengths(self) -> None:
        sent = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + CHUNKED
        error = await refused(QUESTIONS["blob"][1], BLOB_PATH, sent)
        assert error.cause in ("failing", "lying")

    async def test_one_that_stops_is_not_waited_for(self) -> None:
        sent = waiting(answer(BLOB[:100], length=len(BLOB)))
        error = await refused(QUESTIONS["blob"][1], BLOB_PATH, sent, stall_seconds=0.1)
        assert error.cause == "slow"

    async def test_it_may_lie_elsewhere(self) -> None:
        async with serving({"/store": answer(BLOB)}) as store:
            async with asking({BLOB_PATH: redirect(store.url("/store?signature=canary"))}) as asked:
                assert await asked.blob() == BLOB
            for sent in (failure("403 Forbidden"), failure("404 Not Found")):
                store.routes["/store"] = sent
                async with asking({BLOB_PATH: redirect(store.url("/store?signature=canary"))}) as asked:
                    with pytest.raises(UpstreamError) as raised:
                        await asked.blob()
                    assert raised.value.host == f"127.0.0.1:{store.port}" and "canary" not in str(
                        raised.value
                    )


class TestTags:
    async def test_all_pages(self) -> None:
        def made(head: str) -> bytes:
            if "last=b" in head:
                return document({"name": NAME, "tags": ["c"]})
            link = f'<{TAGS_PATH}?n=2&last=b>; rel="next"'
            return document({"name": NAME, "tags": ["a", "b"]}, Link=link)

        async with asking({TAGS_PATH: Reply(made)}) as asked:
            assert await asked.upstream.tags(NAME) == ["a", "b", "c"]

    @pytest.mark.parametrize("listed", [None, []])
    async def test_none(self, listed: object) -> None:
        async with asking({TAGS_PATH: document({"name": NAME, "tags": listed})}) as asked:
            assert await asked.upstream.tags(NAME) == []

    async def test_what_is_no_tag_is_left_out_and_none_comes_twice(self) -> None:
        listed = ["a", "", "../..", 7, None, ["b"], "x" * 129, "a", "B"]
        async with asking({TAGS_PATH: document({"tags": listed})}) as asked:
            assert await asked.upstream.tags(NAME) == ["a", "B"]

    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", b"[]", b"[" * 9999, b'"a"', b'{"tags": "a"}', b'{"tags": {"a": 1}}', b'{"tags": 1}'],
    )
    async def test_what_is_no_list_is_not_taken(self, body: bytes) -> None:
        told = await lie("tags", answer(body, Content_Type="application/json"))
        assert told == "what it answered is no document with a list of tags"

    async def test_a_link_to_another_host_is_not_followed(self) -> None:
        async with serving({"/": document({"tags": ["b"]})}) as there:
            told = await lie("tags", document({"tags": ["a"]}, Link=f'<{there.url()}>; rel="next"'))
            assert told == f"its Link to the next page leads to another host, 127.0.0.1:{there.port}"
            assert there.requests == []

    @pytest.mark.parametrize(
        "link", ["nonsense", "</v2", '<ftp://a/>; rel="next"', '<//a:b/>; rel="next"', "</a>x"]
    )
    async def test_a_broken_link_is_not_followed(self, link: str) -> None:
        assert (await lie("tags", document({"tags": ["a"]}, Link=link))).startswith(
            "its Link to the next page"
        )

    async def test_a_circle_of_pages_is_left(self) -> None:
        link = f'<{TAGS_PATH}?n=1000>; rel="next"'
        assert "goes in a circle" in await lie("tags", document({"tags": ["a"]}, Link=link))

    async def test_pages_without_end_are_not_read(self) -> None:
        count = 0

        def made(_: str) -> bytes:
            nonlocal count
            count += 1
            return document({"tags": [f"t{count}"]}, Link=f'<{TAGS_PATH}?last=t{count}>; rel="next"')

        assert "more than 200 pages" in await lie("tags", Reply(made))
        assert count == 200

    async def test_tags_without_end_are_not_read(self) -> None:
        listed = document({"tags": [f"t{number}" for number in range(100_001)]})
        assert await lie("tags", listed) == "it lists too many tags"

        def made(head: str) -> bytes:
            if "last" in head:
                return document({"tags": [7] * 50_000})
            return document({"tags": [7] * 50_001}, Link=f'<{TAGS_PATH}?last=t>; rel="next"')

        assert await lie("tags", Reply(made)) == "it lists too many tags"

    async def test_a_body_without_end_is_not_read(self) -> None:
        async def script(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
                await writer.drain()

        assert await lie("tags", script) == f"it answered with more than {4 << 20} bytes"


def referrer(number: int) -> dict[str, Any]:
    return {
        "mediaType": media_types.OCI_IMAGE,
        "digest": str(Digest.of(b"%d" % number)),
        "size": number,
        "artifactType": "application/vnd.example.sbom",
        "annotations": {"number": str(number)},
    }


def index(*listed: object, **headers: str) -> bytes:
    value = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": listed}
    return document(value, media_types.OCI_INDEX, **headers)


class TestReferrers:
    async def test_all_pages(self) -> None:
        def made(head: str) -> bytes:
            if "page=2" in head:
                return index(referrer(3))
            return index(referrer(1), referrer(2), Link=f'<{REFERRERS_PATH}?page=2>; rel="next"')

        async with asking({REFERRERS_PATH: Reply(made)}) as asked:
            found = await asked.upstream.referrers(NAME, MANIFEST_DIGEST)
            assert found == [referrer(1), referrer(2), referrer(3)]

    async def test_none(self) -> None:
        async with asking({REFERRERS_PATH: index()}) as asked:
            assert await asked.upstream.referrers(NAME, MANIFEST_DIGEST) == []

    @pytest.mark.parametrize(
        "sent",
        [answer(b"404 page not found", status="404 Not Found"), answer(b"<html>", Content_Type="text/html")],
    )
    async def test_a_registry_without_them(self, sent: bytes) -> None:
        async with asking({REFERRERS_PATH: sent}) as asked:
            assert await asked.upstream.referrers(NAME, MANIFEST_DIGEST) is None

    @pytest.mark.parametrize(
        "listed",
        [
            ["a"],
            [{}],
            [{**referrer(1), "digest": "sha256:1"}],
            [{**referrer(1), "size": -1}],
            [referrer(1), 7],
        ],
    )
    async def test_what_is_no_descriptor_is_not_taken(self, listed: list[object]) -> None:
        assert (await lie("referrers", index(*listed))).startswith("in its list of referrers $.manifests[")

    async def test_what_is_no_list_is_not_taken(self) -> None:
        sent = document({"manifests": "all"}, media_types.OCI_INDEX)
        assert await lie("referrers", sent) == "what it answered is no document with a list of manifests"

    @pytest.mark.parametrize("then", [failure("404 Not Found"), answer(b"<html>", Content_Type="text/html")])
    async def test_a_list_that_ends_otherwise_is_not_taken(self, then: bytes) -> None:
        def made(head: str) -> bytes:
            return then if "page=2" in head else index(Link=f'<{REFERRERS_PATH}?page=2>; rel="next"')

        error = await refused(QUESTIONS["referrers"][1], REFERRERS_PATH, Reply(made))
        assert error.cause in ("absent", "lying")

    async def test_pages_without_end_are_not_read(self) -> None:
        count = 0

        def made(_: str) -> bytes:
            nonlocal count
            count += 1
            return index(Link=f'<{REFERRERS_PATH}?page={count}>; rel="next"')

        assert "more than 100 pages" in await lie("referrers", Reply(made))

    async def test_referrers_without_end_are_not_read(self) -> None:
        def made(head: str) -> bytes:
            link = f'<{REFERRERS_PATH}?page={head.count("page=")}>; rel="next"'
            return index(*([referrer(1)] * 5_001), Link=link)

        assert await lie("referrers", Reply(made)) == "it lists too many manifests"


class TestTroubles:
    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize(
        ("sent", "cause"),
        [
            (failure("500 Internal Server Error"), "failing"),
            (failure("502 Bad Gateway"), "failing"),
            (failure("400 Bad Request", "UNSUPPORTED"), "failing"),
            (failure("403 Forbidden", "DENIED"), "refusing"),
            (failure("401 Unauthorized"), "refusing"),
            (failure("429 Too Many Requests", "TOOMANYREQUESTS"), "limited"),
            (answer(status="304 Not Modified"), "failing"),
            (answer(status="204 No Content"), "failing"),
            (redirect("https://"), "lying"),
            (writing(), "unreachable"),
            (writing(b"220 mail.example ESMTP\r\n"), "failing"),
            (waiting(), "slow"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_each_has_its_cause(self, question: str, sent: Route, cause: Cause) -> None:
        path, ask = QUESTIONS[question]
        seconds = 0.2 if cause == "slow" else 10
        error = await refused(ask, path, sent, head_seconds=seconds)
        assert error.cause == cause, error
        assert "words of its own" not in str(error)

    @pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "referrers"])
    async def test_what_is_absent(self, question: str) -> None:
        path, ask = QUESTIONS[question]
        assert (await refused(ask, path, answer(status="404 Not Found"))).cause == "absent"
        # Of a name that it would never have; a HEAD has no body to say so.
        error = await refused(ask, path, failure("400 Bad Request", "NAME_INVALID"))
        assert error.cause == ("failing" if question.startswith("head") else "absent")

    async def test_the_code_is_told(self) -> None:
        path, ask = QUESTIONS["manifest"]
        error = await refused(ask, path, failure("403 Forbidden", "DENIED"))
        assert error.reason == "it answered 403 (DENIED), asked without a name and a password"
        assert error.status == 403
        error = await refused(ask, path, failure("500 Oh", "Some Words"), username="me", password="pw")
        assert error.reason == "it answered 500"

    async def test_an_error_without_end_is_not_read(self) -> None:
        path, ask = QUESTIONS["manifest"]
        error = await refused(ask, path, answer(b" " * (1 << 20), status="503 Busy", Retry_After="7"))
        assert (error.cause, error.retry_after_seconds) == ("failing", 7)

    async def test_nobody_there(self) -> None:
        async with asking({}) as asked:
            closed = asked.host.port
        async with serving({}) as host:
            assert closed != host.port
        async with asking({TAG_PATH: redirect(f"http://127.0.0.1:{closed}/")}) as asked:
            with pytest.raises(UpstreamError, match="cannot connect: connection refused") as raised:
                await asked.upstream.manifest(NAME, TAG)
            assert raised.value.cause == "unreachable"

    async def test_one_that_speaks_no_tls(self) -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as plain:
            port = plain.sockets[0].getsockname()[1]
            async with asking({TAG_PATH: redirect(f"https://127.0.0.1:{port}/")}) as asked:
                with pytest.raises(UpstreamError, match="does not speak TLS; is it http://") as raised:
                    await asked.upstream.manifest(NAME, TAG)
        assert raised.value.cause == "unreachable"


class TestPaths:
    async def test_a_registry_below_a_path(self) -> None:
        for path in ("/mirror", "/mirror/"):
            async with asking({f"/mirror{TAG_PATH}": manifest()}, path=path) as asked:
                assert (await asked.upstream.manifest(NAME, TAG)).content == MANIFEST
                assert asked.upstream.host == f"127.0.0.1:{asked.host.port}"

    @pytest.mark.parametrize(
        "url", ["", "registry.example", "ftp://a", "https://a?b", "https://a/#b", "https://me:pw@a"]
    )
    def test_what_is_no_registry(self, url: str) -> None:
        with pytest.raises(ValueError, match="the address of a registry"):
            Endpoint(url)


class TestLimits:
    async def test_what_is_told_of_them_is_kept(self) -> None:
        sent = manifest(RateLimit_Limit="100;w=21600", RateLimit_Remaining="76;w=21600")
        heard: list[RateLimit] = []
        async with asking({TAG_PATH: sent, TAGS_PATH: document({})}, told=heard.append) as asked:
            assert asked.upstream.rate_limit is None
            await asked.upstream.manifest(NAME, TAG)
            assert asked.upstream.rate_limit == RateLimit(100, 76, 21600)
            await asked.upstream.tags(NAME)
            assert asked.upstream.rate_limit == RateLimit(100, 76, 21600)
            assert heard == [RateLimit(100, 76, 21600)]

    async def test_a_store_says_nothing_of_them(self) -> None:
        sent = answer(BLOB, RateLimit_Limit="1", RateLimit_Remaining="1")
        async with serving({"/": sent}) as store, asking({BLOB_PATH: redirect(store.url())}) as asked:
            await asked.blob()
            assert asked.upstream.rate_limit is None

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, 60),
            ({"Retry_After": "7"}, 7),
            ({"Retry_After": "0"}, 1),
            ({"Retry_After": "99999999999999999999"}, 3600),
            ({"Retry_After": "-1"}, 60),
            ({"Retry_After": "soon"}, 60),
            ({"Date": "Tue, 01 Jul 2025 10:00:00 GMT", "Retry_After": "Tue, 01 Jul 2025 10:02:00 GMT"}, 120),
            ({"Date": "Tue, 01 Jul 2025 10:00:00 GMT", "Retry_After": "Tue, 01 Jul 2025 09:00:00 GMT"}, 1),
            ({"Date": "Tue, 01 Jul 2025 10:00:00 GMT", "Retry_After": "Tue, 01 Jul 2035 09:00:00 GMT"}, 3600),
        ],
    )
    async def test_who_is_asked_too_often_is_left_alone(
        self, headers: dict[str, str], seconds: float
    ) -> None:
        limited = failure("429 Too Many Requests", "TOOMANYREQUESTS", **headers)
        async with asking({TAG_PATH: limited, DIGEST_PATH: manifest()}) as asked:
            with pytest.raises(UpstreamError) as raised:
                await asked.upstream.manifest(NAME, TAG)
            assert (raised.value.cause, raised.value.retry_after_seconds) == ("limited", seconds)
            assert asked.upstream.limited_until == asked.clock.seconds + seconds
            asked.clock.seconds += seconds / 2
            with pytest.raises(UpstreamError) as raised:
                await asked.upstream.manifest(NAME, MANIFEST_DIGEST)
            assert (raised.value.cause, raised.value.retry_after_seconds) == ("limited", seconds / 2)
            assert len(asked.host.requests) == 1
            asked.clock.seconds += seconds / 2
            await asked.upstream.manifest(NAME, MANIFEST_DIGEST)

    async def test_to_be_refused_does_not_make_it_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ticking(clock: Clock) -> float:
            clock.seconds += 0.001
            return clock.seconds

        monkeypatch.setattr(Clock, "__call__", ticking)
        async with asking({TAG_PATH: failure("429 Too Many Requests")}) as asked:
            until = []
            for _ in range(3):
                with pytest.raises(UpstreamError):
                    await asked.upstream.manifest(NAME, TAG)
                until.append(asked.upstream.limited_until)
            assert until == [until[0]] * 3

    async def test_a_date_without_its_own_counts_from_now(self) -> None:
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
        async with asking({TAG_PATH: failure("429 Too Many Requests", Retry_After=until)}) as asked:
            with pytest.raises(UpstreamError) as raised:
                await asked.upstream.manifest(NAME, TAG)
            assert raised.value.retry_after_seconds == pytest.approx(600, abs=30)

    async def test_a_shorter_wait_does_not_end_a_longer_one(self) -> None:
        arrived = {5: asyncio.Event(), 100: asyncio.Event()}
        go_on = {5: asyncio.Event(), 100: asyncio.Event()}

        def limited(seconds: int) -> Script:
            async def script(writer: asyncio.StreamWriter) -> None:
                arrived[seconds].set()
                await go_on[seconds].wait()
                writer.write(failure("429 Too Many", Retry_After=str(seconds)))
                await writer.drain()

            return script

        async with asking({TAG_PATH: limited(100), TAGS_PATH: limited(5)}) as asked:
            longer = asyncio.create_task(asked.upstream.manifest(NAME, TAG))
            shorter = asyncio.create_task(asked.upstream.tags(NAME))
            for event in arrived.values():
                await event.wait()
            for seconds, task in ((100, longer), (5, shorter)):
                go_on[seconds].set()
                await asyncio.gather(task, return_exceptions=True)
            assert asked.upstream.limited_until == asked.clock.seconds + 100


def test_what_is_said_of_an_endpoint_holds_no_credentials() -> None:
    endpoint = Endpoint("https://registry.example", "canary-name", "canary-password", ("auth.example",))
    assert "canary" not in repr(endpoint)
