"""True registries, read as upstreams: CNCF Distribution and Moorage, with tokens, passwords, or neither."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.remote import upstream as module
from registry.remote.egress import Egress
from registry.remote.upstream import Endpoint, Upstream, UpstreamError
from tests.api.people import Login
from tests.e2e.distribution import Distribution
from tests.e2e.guarded import Guarded
from tests.e2e.images import Content, Image, Index, NewImage, document, index
from tests.e2e.registries import Registry
from tests.e2e.wire import Wire

Distributions = Callable[..., Distribution]
NEVER = Digest.of(b"never pushed")


@asynccontextmanager
async def reading(host_port: str, login: Login | None = None, **more: Any) -> AsyncIterator[Upstream]:
    """A registry on this machine as an upstream."""
    who: dict[str, Any] = {} if login is None else {"username": login.name, "password": login.password}
    async with Egress([ip_network("127.0.0.0/8")]).client() as client:
        yield Upstream(client, Endpoint(f"http://{host_port}", **who, **more), clock=time.monotonic)


async def blob(upstream: Upstream, name: RepositoryName, content: Content, start: int = 0) -> bytes:
    async with upstream.blob(name, Digest.parse(content.digest), start) as found:
        assert (found.size_bytes, found.start) == (len(content.data), start)
        return b"".join([piece async for piece in found.chunks()])


async def read_all(upstream: Upstream, name: RepositoryName, top: Image | Index, tag: str) -> None:
    """All of an image is had as it was pushed, and what was not is not."""
    for content in top.contents:
        digest = Digest.parse(content.digest)
        if content.media_type.endswith(("manifest.v1+json", "index.v1+json")):
            for reference in (digest, Tag(tag)) if content is top.manifest else (digest,):
                found = await upstream.manifest(name, reference)
                assert (found.content, found.digest) == (content.data, digest)
                head = await upstream.head_manifest(name, reference)
                assert (head.digest, head.size_bytes) == (digest, len(content.data))
                assert found.media_type == head.media_type == content.media_type
        else:
            assert await upstream.head_blob(name, digest) == len(content.data)
            assert await blob(upstream, name, content) == content.data
            middle = len(content.data) // 2
            assert await blob(upstream, name, content, middle) == content.data[middle:]
    for asking in (
        upstream.manifest(name, NEVER),
        upstream.manifest(name, Tag("never")),
        upstream.head_manifest(name, NEVER),
        upstream.head_blob(name, NEVER),
    ):
        with pytest.raises(UpstreamError) as raised:
            await asking
        assert raised.value.cause == "absent"


@pytest.mark.parametrize("kind", ["moorage", "distribution2", "distribution3"])
async def test_what_was_pushed_is_read(
    kind: str,
    request: pytest.FixtureRequest,
    scratch: Path,
    repository: str,
    new_image: NewImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "moorage":
        host_port = request.getfixturevalue("registry").host_port
    else:
        distributions: Distributions = request.getfixturevalue("distribution")
        host_port = distributions(int(kind[-1]), scratch / "root").host_port
    top = index(new_image(), new_image(architecture="arm64"))
    wire, name = Wire(host_port), RepositoryName(repository)
    for tag in ("a", "b", "c"):
        wire.push(repository, top, tag)
    async with reading(host_port) as upstream:
        await read_all(upstream, name, top, "b")
        assert sorted(await upstream.tags(name)) == ["a", "b", "c"]
        # Pages as they make them.
        monkeypatch.setattr(module, "_PAGE_OF_TAGS", 2)
        assert sorted(await upstream.tags(name)) == ["a", "b", "c"]
        with pytest.raises(UpstreamError) as raised:
            await upstream.tags(RepositoryName("never/pushed"))
        assert raised.value.cause == "absent"
        listed = await upstream.referrers(name, Digest.parse(top.digest))
        assert listed == ([] if kind == "moorage" else None)


async def test_referrers_are_read(registry: Registry, repository: str, new_image: NewImage) -> None:
    image, name = new_image(), RepositoryName(repository)
    registry.wire.push(repository, image, "1")
    subject = image.manifest.descriptor()
    expected = []
    for number in range(3):
        fields = {**image_fields(image), "subject": subject, "annotations": {"number": str(number)}}
        made = Image(Content(image.manifest.media_type, document(fields)), *rest(image))
        registry.wire.push(repository, made, f"r{number}")
        expected.append(made.digest)
    async with reading(registry.host_port) as upstream:
        listed = await upstream.referrers(name, Digest.parse(image.digest))
        assert listed is not None and sorted(one["digest"] for one in listed) == sorted(expected)
        assert listed == registry.wire.referrers(repository, image.digest)


def image_fields(image: Image) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": image.manifest.media_type,
        "config": image.config.descriptor(),
        "layers": [layer.descriptor() for layer in image.layers],
    }


def rest(image: Image) -> tuple[Any, ...]:
    return image.config, image.layers, image.plain_layers, image.architecture, image.random_sha256


class TestGuarded:
    """Moorage with its own token service."""

    async def test_who_may_pull_reads(self, guarded: Guarded, repository: str, new_image: NewImage) -> None:
        name, image = RepositoryName(f"team/{repository}"), new_image()
        guarded.wire.push(name, image, "1")
        for login in (guarded.puller, guarded.key):
            async with reading(guarded.host_port, login) as upstream:
                await read_all(upstream, name, image, "1")
                assert await upstream.tags(name) == ["1"]
                assert await upstream.referrers(name, Digest.parse(image.digest)) == []

    async def test_what_is_public_is_read_by_nobody_in_particular(
        self, guarded: Guarded, repository: str, new_image: NewImage
    ) -> None:
        name, image = RepositoryName(f"public/{repository}"), new_image()
        guarded.wire.push(name, image, "1")
        async with reading(guarded.host_port) as upstream:
            await read_all(upstream, name, image, "1")

    async def test_who_may_not_is_refused(
        self, guarded: Guarded, repository: str, new_image: NewImage
    ) -> None:
        name = RepositoryName(f"secret/{repository}")
        guarded.wire.push(name, new_image(), "1")
        wrong = Login(guarded.puller.name, secrets.token_urlsafe(12))
        for login in (None, guarded.puller, guarded.key, wrong):
            async with reading(guarded.host_port, login) as upstream:
                with pytest.raises(UpstreamError) as raised:
                    await upstream.manifest(name, Tag("1"))
                assert raised.value.cause == "refusing"
                if login is not None:
                    assert login.password not in str(raised.value)


@pytest.mark.parametrize("version", [2, 3])
async def test_distribution_with_passwords(
    version: int, distribution: Distributions, scratch: Path, repository: str, new_image: NewImage
) -> None:
    login, image, name = Login("me", secrets.token_urlsafe(12)), new_image(), RepositoryName(repository)
    hashed = bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(4)).decode()
    (scratch / "htpasswd").write_text(f"{login.name}:{hashed}\n")
    auth = {"auth": {"htpasswd": {"realm": "somewhere", "path": str(scratch / "htpasswd")}}}
    server = distribution(version, scratch / "root", more=auth)
    Wire(server.host_port, login.basic).push(repository, image, "1")
    async with reading(server.host_port, login) as upstream:
        await read_all(upstream, name, image, "1")
    for other in (None, Login("me", "wrong")):
        async with reading(server.host_port, other) as upstream:
            with pytest.raises(UpstreamError) as raised:
                await upstream.manifest(name, Tag("1"))
            assert raised.value.cause == "refusing"
