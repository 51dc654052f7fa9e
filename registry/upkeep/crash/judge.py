"""Whether a registry that was interrupted keeps what clients were told, and shows nothing half-made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

from registry.core.registry import Registry
from registry.errors import BlobUnknown, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.upkeep.check import Looked, check_repository
from registry.upkeep.crash.client import Fact, Ledger, Value
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
    async for name in registry.store.catalog.tree():
        checking = check_repository(registry, name, hash_blobs=True, looked=Looked())
        wrong += [f"{one.repository} {one.content}: {one.problem}" async for one in checking if one.damaged]
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
    }[fact.kind]
    try:
        return await look(registry, fact)
    except (BlobUnknown, ManifestUnknown):
        return None
    except RegistryError as error:
        return error.message


async def _manifest(registry: Registry, fact: Fact) -> Value:
    reference = Tag(fact.which) if fact.kind == "tag" else Digest.parse(fact.which)
    return str((await registry.repository(fact.repository, "judge").manifest(reference)).digest)


async def _blob(registry: Registry, fact: Fact) -> Value:
    hasher = Digest.parse(fact.which).hasher()
    repository = registry.repository(fact.repository, "judge")
    async with repository.open_blob(Digest.parse(fact.which)) as opened:
        async for piece in opened.chunks():
            hasher.update(piece)
    return f"sha256:{hasher.hexdigest()}"


async def _referrer(registry: Registry, fact: Fact) -> Value:
    subject, digest = fact.which.split(" ")
    page = await registry.repository(fact.repository, "judge").referrers(
        Digest.parse(subject), artifact_types=(), after=""
    )
    return digest if any(digest in entry for entry in page.entries) else None


async def _history(registry: Registry, fact: Fact) -> Value:
    tag, digest = fact.which.split(" ")
    history = registry.store.history
    moves = [await history.read(key) for key in await history.keys(fact.repository, Tag(tag))]
    wanted = None if digest == "deleted" else Digest.parse(digest)
    if not any(move is not None and move.digest == wanted for move in moves):
        return None
    return digest if wanted is not None else str(fact)


async def _listed(registry: Registry, fact: Fact) -> Value:
    try:
        await registry.store.driver.stat(layout.layers_placeholder(fact.repository))
    except NotFound:
        return None
    return fact.repository if await registry.store.catalog.is_listed(fact.repository) else None


async def _complete(registry: Registry, fact: Fact) -> Value:
    return fact.repository if await registry.store.catalog.is_complete() else None


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
