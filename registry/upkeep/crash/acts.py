"""What a registry is made to do while it is killed or loses power: a little of everything that writes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from registry.model.digests import Digest
from registry.model.media_types import DOCKER_IMAGE, OCI_IMAGE
from registry.model.names import RepositoryName
from registry.upkeep.crash.client import Client, Made

Act = Callable[[Client], Awaitable[None]]

OLD = RepositoryName("rehearsal/old")
NEW = RepositoryName("rehearsal/new")
# Above what a driver writes in one go on the event loop.
_LARGE_BYTES = 100_000
CONFIG = b"config" * 20
LAYER = b"layer" * (_LARGE_BYTES // 5)
SPARE = b"spare" * 20
TAKEN = b"taken" * 20
HURT = b"hurt" * 20
LATER = b"needed later" * 20
UNNEEDED = b"unneeded" * 20
LEAKED = b"leaked" * 20


def _blob(note: str, size_bytes: int = 100) -> bytes:
    return (note.encode() * size_bytes)[:size_bytes]


def image(note: str, *blobs: bytes, untyped: bool = False, subject: Made | None = None) -> Made:
    """An image of blobs; Distribution has no place for one that is `untyped`."""
    described = [
        {"mediaType": "application/x-rehearsal", "digest": str(Digest.of(blob)), "size": len(blob)}
        for blob in blobs
    ]
    document: dict[str, Any] = {
        "schemaVersion": 2,
        **({} if untyped else {"mediaType": OCI_IMAGE}),
        "config": described[0],
        "layers": described[1:],
        "annotations": {"note": note},
    }
    if subject is not None:
        document["subject"] = {
            "mediaType": OCI_IMAGE,
            "digest": subject.digest,
            "size": len(subject.content),
        }
    media_type = DOCKER_IMAGE if untyped else OCI_IMAGE
    return Made(json.dumps(document).encode(), media_type, subject.digest if subject else None)


def first() -> Made:
    """An image that is there before."""
    return image("first", CONFIG, LAYER)


def second() -> Made:
    """Another one."""
    return image("second", CONFIG, LAYER)


def signature() -> Made:
    """What refers to the first."""
    return image("signature", CONFIG, subject=first())


async def prepare(client: Client) -> None:
    """What is there before: two images with tags, a signature, and blobs that nothing needs.

    One of them was taken by a policy, and one is damaged.
    """
    for blob in (CONFIG, LAYER, SPARE, TAKEN, HURT, LEAKED):
        await client.at_once(OLD, blob)
    await client.give_to_policy(OLD, TAKEN)
    await client.spoil(OLD, HURT)
    await client.manifest(OLD, first(), "first", "moving")
    await client.manifest(OLD, second(), "second")
    await client.manifest(OLD, signature())


async def _push_as_docker(client: Client) -> None:
    config, layer = _blob("docker's config"), _blob("docker", _LARGE_BYTES)
    await client.in_pieces(NEW, layer)
    await client.in_pieces(NEW, config)
    await client.manifest(NEW, image("docker", config, layer), "docker")


async def _push_as_containerd(client: Client) -> None:
    layer = _blob("containerd", _LARGE_BYTES)
    await client.in_one_body(OLD, layer)
    await client.manifest(OLD, image("containerd", CONFIG, layer), "containerd", "moving")


async def _push_in_pieces(client: Client) -> None:
    await client.in_pieces(OLD, _blob("one"), _blob("two", _LARGE_BYTES), _blob("three"))


async def _push_at_once(client: Client) -> None:
    await client.at_once(OLD, _blob("at once"))


async def _push_again(client: Client) -> None:
    await client.in_pieces(OLD, LAYER)
    await client.manifest(OLD, first(), "first")


async def _push_what_refers(client: Client) -> None:
    await client.mount(NEW, CONFIG, OLD)
    await client.manifest(OLD, image("another", CONFIG, subject=first()))
    await client.manifest(NEW, image("untyped", CONFIG, untyped=True), "untyped")


async def _move_tags(client: Client) -> None:
    await client.manifest(OLD, second(), "moving")
    await client.manifest(OLD, first(), "moving", "second")


async def _delete_a_tag(client: Client) -> None:
    await client.delete_tag(OLD, "moving")


async def _delete_a_manifest(client: Client) -> None:
    await client.delete_manifest(OLD, signature())
    await client.delete_manifest(OLD, first(), "first", "moving")


async def _delete_a_blob(client: Client) -> None:
    await client.delete_blob(OLD, SPARE)


async def _delete_a_repository(client: Client) -> None:
    tags = {first(): ("first", "moving"), second(): ("second",), signature(): ()}
    await client.delete_repository(OLD, tags, (CONFIG, LAYER, SPARE, HURT, LEAKED))


async def _put_back(client: Client) -> None:
    await client.find(OLD, TAKEN)
    await client.manifest(OLD, image("put back", CONFIG, TAKEN))


async def _collect(client: Client) -> None:
    await client.collect(OLD, LATER, UNNEEDED, image("needs what was unneeded", CONFIG, LATER))


async def _purge(client: Client) -> None:
    await client.purge(OLD, LEAKED)
    never_there = _blob("purged by mistake")
    await client.purge(OLD, never_there)
    await client.unblock(never_there)


async def _heal(client: Client) -> None:
    await client.heal(OLD, image("healed", CONFIG, HURT), HURT)


async def _let_go(client: Client) -> None:
    await client.let_go(OLD, second(), "second")


async def _pin(client: Client) -> None:
    await client.pin(OLD, first())


async def _start(client: Client) -> None:
    await client.start()


async def _switch_to_read_only(client: Client) -> None:
    await client.set_read_only(on=True)
    await client.set_read_only(on=False)


async def _cancel_uploads(client: Client) -> None:
    uuid = await client.upload(OLD, _blob("one"), _blob("two", _LARGE_BYTES))
    await client.upload(OLD, _blob("three"))
    await client.cancel(OLD, uuid)
    await client.expire(OLD)


async def _reindex(client: Client) -> None:
    await client.reindex(OLD, signature())


ACTS: dict[str, Act] = {
    "push as docker": _push_as_docker,
    "push as containerd": _push_as_containerd,
    "push in pieces": _push_in_pieces,
    "push at once": _push_at_once,
    "push again": _push_again,
    "push what refers": _push_what_refers,
    "move tags": _move_tags,
    "delete a tag": _delete_a_tag,
    "delete a manifest": _delete_a_manifest,
    "delete a blob": _delete_a_blob,
    "delete a repository": _delete_a_repository,
    "put back": _put_back,
    "heal": _heal,
    "collect": _collect,
    "let go": _let_go,
    "pin": _pin,
    "start": _start,
    "switch to read-only": _switch_to_read_only,
    "cancel uploads": _cancel_uploads,
    "reindex": _reindex,
    # The last: a server, which the tests let serve one tree after the other, has it in mind for a while.
    "purge": _purge,
}
"""Each may be repeated, whatever has become of it before."""
