"""`kill -9` at every file call of all that writes: judged twice in process, and by two real registries."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from registry.app.opening import open_scratch
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.upkeep.crash.acts import ACTS, OLD, TAKEN, UNNEEDED, prepare
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.deaths import Death, deaths
from registry.upkeep.crash.judge import found, judge
from registry.upkeep.crash.ledger import Ledger
from storage.files import Files
from tests.api.contents import digest_of
from tests.api.registry import Registry
from tests.api.server import Server
from tests.durability.judging import wrong
from tests.durability.reader import Seen, look, tree_of
from tests.e2e.distribution import Distribution

EVERY = 10
MEMORY = Path("/dev/shm")


@pytest.fixture
def quick() -> Iterator[Path]:
    """A directory in memory where there is one, since `kill -9` does not ask for a disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


class Registries:
    """Moorage and Distribution on one directory, whose content is exchanged under them."""

    def __init__(self, root: Path, scratch: Path, distribution: Callable[..., Distribution]) -> None:
        self._root = root
        root.mkdir()
        self.server = Server(root, scratch, {"cache": {"manifests": "0B"}})
        self._distribution = distribution(3, root)

    def judge(self, left: str, seen: Seen) -> list[str]:
        """Where one of them serves something else than the reader of the layout has seen."""
        for name in ("docker", "_moorage"):
            shutil.rmtree(self._root / name, ignore_errors=True)
            with suppress(FileNotFoundError):
                shutil.copytree(Path(left) / name, self._root / name)
        strange = {path.rpartition("/")[2] for path in tree_of(self._root / "_moorage/v1/manifests")}
        return [
            f"{name}: {fact} is {served}, and {value} lies there"
            for name, registry in (
                ("moorage", self.server.registry),
                ("distribution", Registry(self._distribution.host_port)),
            )
            for fact, value in seen.facts.items()
            if name == "moorage" or value.rpartition(":")[2] not in strange
            if (served := serves(registry, *fact.split(" "))) not in (value, None)
            or (served is None and fact.startswith(("blob ", "manifest ", "tag ")))
        ]


def serves(registry: Registry, kind: str, name: str, *which: str) -> str | None:
    """The digest of what a registry serves, or its refusal; None for what it has not or has no word for."""
    path = {"blob": "blobs/", "manifest": "manifests/", "tag": "manifests/"}.get(kind)
    if path is None:
        return None
    answer = registry.repository(name).ask("GET", path + which[0], {"Accept": OCI_IMAGE})
    if answer.status == 404:
        return None
    return digest_of(answer.body) if answer.status == 200 else str(answer)


@pytest.fixture
def registries(quick: Path, scratch: Path, distribution: Callable[..., Distribution]) -> Iterator[Registries]:
    """Both, on an empty directory."""
    registries = Registries(quick / "served", scratch, distribution)
    yield registries
    registries.server.stop()


async def by_the_core(death: Death) -> list[str]:
    """What a registry that is started on it says is wrong."""
    async with open_scratch(death.root, Files()) as registry:
        return await judge(registry, death.ledger)


async def after_another_try(death: Death) -> list[str]:
    """What is wrong when the client has done it all again, to the end."""
    async with open_scratch(death.root, Files()) as registry:
        again = Ledger(dict(death.ledger.may_be))
        await ACTS[death.act](Client(registry, again.note))
        # An upload that was to go when its process died went or not, and nobody does that again; nor is it
        # entered once more that a tag is gone. What a collection took is there for who pulls alone.
        in_doubt = {fact for fact, may_be in again.may_be.items() if len(may_be) > 1}
        taken = {str(Digest.of(content)) for content in (TAKEN, UNNEEDED)}
        told = {fact for fact in in_doubt if fact.kind not in ("upload", "history")}
        assert {fact for fact in told if fact.which not in taken} == set()
        return await judge(registry, again)


@pytest.mark.timeout(900)
async def test_what_was_acknowledged_outlives_a_kill_at_every_file_call(
    quick: Path, registries: Registries
) -> None:
    acts = os.environ.get("ACTS", ",".join(ACTS)).split(",")
    number = looked = 0
    async for death in deaths(quick, open_scratch, acts):
        number += 1
        seen = look(tree_of(death.root))
        by_reader, by_core = wrong(seen, death.ledger), await by_the_core(death)
        served = []
        if number % EVERY == 0 or by_reader or by_core:
            looked += 1
            served = registries.judge(death.root, look(tree_of(death.root)))
        assert (by_reader, by_core, served) == ([], [], []), f"{death.act}, call {death.number}"
        assert await after_another_try(death) == [], f"{death.act}, call {death.number}"
    assert number > 20 * len(acts)
    assert looked >= number // EVERY


async def test_each_judge_sees_what_is_wrong(quick: Path, registries: Registries) -> None:
    """Nothing would be proved by judges who find everything in order."""
    async for death in deaths(quick, open_scratch, ["push as docker"]):
        if death.ended:
            break
    tree = tree_of(death.root)
    for path in tree:
        if "/blobs/" not in path and not path.endswith("current/link"):
            continue
        whole = (Path(death.root) / path).read_bytes()
        for spoilt in (None, whole[: len(whole) // 2]):
            (Path(death.root) / path).unlink()
            if spoilt is not None:
                (Path(death.root) / path).write_bytes(spoilt)
            assert wrong(look(tree_of(death.root)), death.ledger), path
            async with open_scratch(death.root, Files()) as registry:
                assert await judge(registry, death.ledger), path
            (Path(death.root) / path).write_bytes(whole)
    seen = look(tree)
    assert registries.judge(death.root, seen) == []
    seen.facts["blob rehearsal/new sha256:" + "0" * 64] = "sha256:" + "0" * 64
    assert len(registries.judge(death.root, seen)) == 2


async def test_both_judges_look_at_the_same_things(quick: Path) -> None:
    """After each act, with an upload under way, and while the store is read-only."""
    ledger = Ledger()
    kinds = {
        *("blob", "manifest", "tag", "history", "referrer", "listed", "complete", "trash", "upload"),
        *("format", "read-only", "data", "quarantine", "blocked", "pin", "pushed"),
    }
    async with open_scratch(str(quick / "root"), Files()) as registry:
        client = Client(registry, ledger.note)
        await prepare(client)
        last = ["delete a manifest", "delete a repository"]  # what others need
        for act in [*(act for act in ACTS if act not in last), *last]:
            await ACTS[act](client)
            await client.upload(OLD, b"one", b"two")
            await client.set_read_only(on=True)
            seen = look(tree_of(quick / "root"))
            for fact in ledger.may_be:
                assert await found(registry, fact) == seen.facts.get(str(fact)), (act, fact)
    assert {fact.kind for fact in ledger.may_be} == kinds
