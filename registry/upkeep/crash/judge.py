"""Whether a registry that was interrupted keeps what clients were told, and shows nothing half-made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

from registry.core.registry import Registry
from registry.errors import BlobUnknown, BlobUploadUnknown, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.upkeep.check import Looked, check_repository
from registry.upkeep.crash.ledger import Fact, Ledger, Value
from storage.contract import exists
from storage.errors import NotFound

_PLACES: dict[str, Callable[[RepositoryName, str], str]] = {
    "blob": lambda name, which: layout.layer_link(name, Digest.parse(which)),
    "manifest": lambda name, which: layout.revision_link(name, Digest.parse(which)),
    "tag": lambda name, which: layout.tag_link(name, Tag(which)),
}
_RECORD_LIMIT = 1 << 20  # bytes
_LATER_SECONDS = 3600  # when the hourly jobs have come by


async def judge(registry: Registry, ledger: Ledger) -> list[str]:
    """What is wrong, a sentence each, once removals that died half-way have been finished."""
    await registry.door.finish_open(time.time() + _LATER_SECONDS)
    wrong = []
    for fact, may_be in ledger.may_be.items():
        is_so = await found(registry, fact)
        if fact.kind == "trash" and is_so is None:
            kind, which = fact.which.split(" ")
            if await found(registry, Fact(kind, fact.repository, which)) is None:
                wrong.append(f"{fact.which}: gone, and not in the trash")
        if is_so not in may_be:
            wrong.append(f"{fact}: is {is_so}, and may be {' or '.join(sorted(map(str, may_be)))}")
    hurt = ledger.hurt()
    async for name in registry.store.catalog.tree():
        checking = check_repository(registry, name, hash_blobs=True, looked=Looked())
        damaged = [one async for one in checking if one.damaged and one.content not in hurt]
        wrong += [f"{one.repository} {one.content}: {one.problem}" for one in damaged]
    return wrong


async def found(registry: Registry, fact: Fact) -> Value:
    """What a client finds of it: a digest of the bytes that it is given, an error's text, or None."""
    look = {
        "blob": _blob,
        "manifest": _manifest,
        "tag": _manifest,
        "history": _history,
        "referrer": _referrer,
        "listed": _listed,
        "complete": _complete,
        "trash": _trash,
        "upload": _upload,
        "format": _format,
        "read-only": _read_only,
        "data": _data,
        "blocked": _blocked,
        "quarantine": _quarantine,
        "pushed": _pushed,
        "pin": _pinned,
    }[fact.kind]
    try:
        return await look(registry, fact)
    except (BlobUnknown, BlobUploadUnknown, ManifestUnknown):
        return None
    except RegistryError as error:
        return error.message


async def _manifest(registry: Registry, fact: Fact) -> Value:
    reference = Tag(fact.which) if fact.kind == "tag" else Digest.parse(fact.which)
    return str((await registry.repository(fact.repository, "judge").manifest(reference)).digest)


async def _blob(registry: Registry, fact: Fact) -> Value:
    digest = Digest.parse(fact.which)
    hasher = digest.hasher()
    # What a policy took is read from the trash as long as it is there, and does not count.
    await registry.store.links.layer(fact.repository, digest)
    async with registry.repository(fact.repository, "judge").open_blob(digest) as opened:
        async for piece in opened.chunks():
            hasher.update(piece)
    return f"sha256:{hasher.hexdigest()}"


async def _pushed(registry: Registry, fact: Fact) -> Value:
    here = (await registry.store.origins.of(fact.repository)).here
    return fact.which if Digest.parse(fact.which) in here else None


async def _pinned(registry: Registry, fact: Fact) -> Value:
    return fact.which if Digest.parse(fact.which) in await registry.store.pins.of(fact.repository) else None


async def _referrer(registry: Registry, fact: Fact) -> Value:
    subject, digest = fact.which.split(" ")
    page = await registry.repository(fact.repository, "judge").referrers(
        Digest.parse(subject), artifact_types=(), after=""
    )
    return digest if any(digest in entry for entry in page.entries) else None


async def _history(registry: Registry, fact: Fact) -> Value:
    """Whether the tag was set to a digest, or deleted, at least so many times."""
    tag, digest, times = fact.which.split(" ")
    history = registry.store.history
    moves = [await history.read(key) for key in await history.keys(fact.repository, Tag(tag))]
    wanted = None if digest == "deleted" else Digest.parse(digest)
    if sum(move is not None and move.digest == wanted for move in moves) < int(times):
        return None
    return digest if wanted is not None else str(fact)


async def _listed(registry: Registry, fact: Fact) -> Value:
    if not await exists(registry.store.driver, layout.layers_placeholder(fact.repository)):
        return None
    return fact.repository if await registry.store.catalog.is_listed(fact.repository) else None


async def _complete(registry: Registry, fact: Fact) -> Value:
    return str(fact) if await registry.store.catalog.is_complete() else None


async def _upload(registry: Registry, fact: Fact) -> Value:
    return str(await registry.repository(fact.repository, "judge").upload_size(fact.which))


async def _format(registry: Registry, fact: Fact) -> Value:
    return str(fact) if await exists(registry.store.driver, layout.FORMAT) else None


async def _read_only(registry: Registry, fact: Fact) -> Value:
    return str(fact) if await registry.store.marks.is_read_only() else None


async def _blocked(registry: Registry, fact: Fact) -> Value:
    await registry.store.blocked.look()
    return None if registry.store.blocked.of(Digest.parse(fact.which)) is None else str(fact)


async def _data(registry: Registry, fact: Fact) -> Value:
    """What bytes lie under a digest, be they linked or not."""
    return await _hash(registry, layout.blob_data(Digest.parse(fact.which)))


async def _quarantine(registry: Registry, fact: Fact) -> Value:
    """What was set aside of a digest."""
    kept = layout.quarantine(Digest.parse(fact.which), "")[:-1]
    for copy in await registry.store.driver.children(kept):
        return await _hash(registry, f"{kept}/{copy}")
    return None


async def _hash(registry: Registry, key: str) -> Value:
    try:
        return str(await registry.store.content.hash([key], "sha256"))
    except NotFound:
        return None


async def _trash(registry: Registry, fact: Fact) -> Value:
    """What was taken, under a run of which it is known what it took."""
    kind, which = fact.which.split(" ")
    driver = registry.store.driver
    for run in await driver.children(layout.TRASH_RUNS):
        record = json.loads(await driver.get(layout.trash_run(run), limit=_RECORD_LIMIT))
        for move in record["moves"]:
            if _PLACES[kind](fact.repository, which) == move["key"]:
                with suppress(NotFound):
                    Digest.parse((await driver.get(move["trash"], limit=_RECORD_LIMIT)).decode())
                    return str(fact)
    return None
