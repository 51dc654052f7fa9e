"""Servers and collecting processes on a store, on a disk or in a bucket, are killed while people push."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from registry.model.units import format_size
from registry.removal.door import ABANDONED
from registry.removal.intents import LIFE
from registry.upkeep.expiry import stamped_now
from tests.api.contents import Manifest, digest_of, image, index
from tests.api.registry import Repository
from tests.api.server import Server, configuration, environment
from tests.durability.reader import Tree, look, tree_of, unneeded
from tests.e2e.buckets import distribution_storage, settings
from tests.e2e.collecting import collect, opened
from tests.e2e.distribution import Distribution
from tests.e2e.engines import Engine
from tests.e2e.processes import Daemon
from tests.e2e.traffic import TAGS, Ledger
from tests.e2e.versity import versity
from tests.e2e.wire import Wire
from tests.equipment.absence import require
from tests.server.conftest import until
from tests.soak import duration_seconds, first_seed, is_soak
from tests.storage.buckets import Bucket, client_of

SERVERS = 2
COLLECTORS = 2
USERS = 4
LOST = (OSError, HTTPException)
# Layers that everybody builds on.
POOL = [os.urandom(3000) for _ in range(4)]
CHURN_SECONDS = float(os.environ.get("CHURN_SECONDS", "20"))


class Place(ABC):
    """Where a registry keeps its bytes, with the servers and the collecting processes on it."""

    settings: dict[str, Any]
    most_seconds = math.inf  # of traffic

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "collecting.yaml"
        self.config.write_text(json.dumps(self.settings))
        self.servers = [self.serve() for _ in range(SERVERS)]
        self.collectors = [self.collector() for _ in range(COLLECTORS)]
        self.reports: list[dict[str, Any]] = []

    @abstractmethod
    def tree(self) -> Tree:
        """All that lies there."""

    @abstractmethod
    def served_by(self, distribution: Callable[..., Distribution]) -> Distribution:
        """CNCF Distribution on the same bytes."""

    def serve(self) -> Server:
        """One more server."""
        return Server(self.folder / "root", self.folder, self.settings)

    def collector(self, per_second: int = 0) -> Daemon:
        """One more process that collects."""
        name = f"collector-{os.urandom(3).hex()}"
        command = [sys.executable, "-m", "tests.e2e.collecting", self.config, name, per_second]
        return Daemon(command, self.folder / f"{name}.log", environment())

    def disturb(self, chance: random.Random, *, a_server: bool) -> str:
        """Kill something, and start it anew."""
        if a_server:
            which = chance.randrange(SERVERS)
            self.servers[which].kill()
            self.servers[which] = self.serve()
            return "servers killed"
        which = chance.randrange(COLLECTORS)
        self.end_collector(which)
        self.collectors[which] = self.collector()
        return "collecting processes killed"

    def end_collector(self, which: int) -> None:
        """kill -9; what it has printed is kept."""
        self.collectors[which].kill()
        text = self.collectors[which].log.read_text()
        self.reports += [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        assert "Traceback" not in text, text[-3000:]

    def stop(self) -> None:
        """End all of it."""
        for server in self.servers:
            server.kill()
        for collector in self.collectors:
            collector.kill()


class Disk(Place):
    """A directory."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.settings = configuration(self.root, {"gc": {"enabled": False}})
        super().__init__(folder)

    def tree(self) -> Tree:
        return tree_of(self.root)

    def served_by(self, distribution: Callable[..., Distribution]) -> Distribution:
        return distribution(3, self.root)


class InABucket(Place):
    """A bucket of whatever engine."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.bucket = bucket
        base = settings(bucket, folder)
        self.settings = configuration(folder, {**base, "gc": {"enabled": False}})
        super().__init__(folder)

    def tree(self) -> Tree:
        names = sorted(self.bucket.names())
        # One after the other takes Ceph minutes.
        with ThreadPoolExecutor(8) as pool:
            return {
                name: body or b"" for name, body in zip(names, pool.map(self.bucket.get, names), strict=True)
            }

    def served_by(self, distribution: Callable[..., Distribution]) -> Distribution:
        storage = distribution_storage(self.bucket)["storage"]
        more = {"storage": {**storage, "redirect": {"disable": True}}}
        return distribution(3, self.folder, more=more)


# Where there is time, or an engine was asked for: other clocks, listings and faults than a directory has.
ENGINES = (
    [pytest.param("engine", marks=pytest.mark.any_engine)]
    if is_soak() or "MOORAGE_TEST_ENGINE" in os.environ
    else []
)


@pytest.fixture
def place(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Place]:
    """A directory, a bucket of versitygw, and one of Ceph's or as MOORAGE_TEST_ENGINE says."""
    if request.param == "disk":
        place: Place = Disk(scratch)
        yield place
        place.stop()
        return
    if request.param == "engine":
        engine: Engine = request.getfixturevalue("engine")
        place = InABucket(scratch, Bucket(client_of(engine.endpoint), "registries/collected"))
        # To look at what is left takes Ceph five times as long.
        place.most_seconds = 300
        yield place
        place.stop()
        return
    (folder := scratch / "buckets").mkdir()
    with versity(require("versitygw"), folder) as endpoint:
        place = InABucket(scratch, Bucket(client_of(endpoint), "registries/collected"))
        yield place
        place.stop()


class User(threading.Thread):
    """Pushes, pulls, moves tags and deletes in a repository of its own; a wrong answer is a failure."""

    def __init__(self, place: Place, chance: random.Random, number: int) -> None:
        super().__init__()
        self._place = place
        self._chance = chance
        self._over = threading.Event()
        self.name_ = ("a", "a-b", "a/b", "a/b/c")[number % 4] + ("" if number < 4 else f"-{number}")
        self.ledger = Ledger()
        self.failures: list[str] = []
        self.lost = 0
        self._children: set[str] = set()

    @property
    def repository(self) -> Repository:
        """By way of one server or another."""
        return self._chance.choice(self._place.servers).repository(self.name_)

    def run(self) -> None:
        """Until told to end."""
        while not self._over.is_set():
            try:
                self._step()
            except LOST:
                self.lost += 1
                time.sleep(0.05)
            except AssertionError as problem:
                self.failures.append(f"{self.name_}: {str(problem)[:2000]}")

    def end(self) -> None:
        """After the step that it is at."""
        self._over.set()
        self.join()

    def _step(self) -> None:
        known, tag = sorted(self.ledger.images), self._chance.choice(TAGS)
        kind = self._chance.choices(("push", "index", "pull", "move", "delete"), (5, 1, 4, 1, 3))[0]
        if kind == "push" or len(known) < 3:
            kind = "push"
            self._push(image([*self._chance.sample(POOL, 2), os.urandom(200)]), tag)
        elif kind == "index":
            chosen = self._chance.sample(known, 2)
            self._push(index([self._described(digest) for digest in chosen]), tag)
        elif kind == "pull":
            Wire(self.repository.registry.host_port).whole(self.name_, self._chance.choice(known))
        elif kind == "move":
            digest = self._chance.choice(known)
            found = self.repository.get(digest)
            assert found.status == 200, found
            self._put(Manifest(found.body, found["Content-Type"]), tag)
        else:
            digest = self._chance.choice(known)
            if digest in self._children:
                return
            self.ledger.deleting(digest)
            answer = self.repository.ask("DELETE", f"manifests/{digest}")
            assert answer.status == 202, answer
            self.ledger.gone(digest)
        self.ledger.done[kind] += 1

    def _push(self, manifest: Manifest, tag: str) -> None:
        for blob in manifest.blobs:
            self._give(blob)
        self._put(manifest, tag)

    def _put(self, manifest: Manifest, tag: str) -> None:
        self.ledger.pushing(manifest.digest, tag)
        answer = self.repository.put(manifest, tag)
        assert answer.status == 201, answer
        self.ledger.pushed(manifest.digest, tag, manifest.digest)

    def _give(self, blob: bytes) -> None:
        """As docker does: ask for it, mount it, or else upload it; sometimes twice."""
        digest = digest_of(blob)
        if self._chance.random() < 0.7:
            answer = self.repository.ask("HEAD", f"blobs/{digest}")
            assert answer.status in (200, 404), answer
            if answer.status == 200:
                return
        if blob in POOL and self._chance.random() < 0.5:
            source = self._chance.choice(("a", "a-b", "a/b", "a/b/c"))
            answer = self.repository.ask("POST", f"blobs/uploads/?mount={digest}&from={source}")
            assert answer.status in (201, 202), answer
            if answer.status == 201:
                return
        headers = {"Content-Type": "application/octet-stream"}
        answer = self.repository.ask("POST", f"blobs/uploads/?digest={digest}", headers, blob)
        assert answer.status == 201, answer

    def _described(self, digest: str) -> dict[str, Any]:
        found = self.repository.get(digest)
        assert found.status == 200, found
        self._children.add(digest)
        return Manifest(found.body, found["Content-Type"]).descriptor()


# In a class each, so that they run side by side.
@pytest.mark.soak
@pytest.mark.timeout(0)
class TestOnADisk:
    """In a directory."""

    @pytest.mark.parametrize("place", ["disk"], indirect=True)
    def test_what_was_acknowledged_outlives_collections_and_kills(
        self, place: Place, distribution: Callable[..., Distribution]
    ) -> None:
        rehearse(place, distribution)


@pytest.mark.soak
@pytest.mark.timeout(0)
class TestInABucket:
    """In a bucket of versitygw and, where there is time or one was asked for, of another engine."""

    @pytest.mark.parametrize("place", ["bucket", *ENGINES], indirect=True)
    def test_what_was_acknowledged_outlives_collections_and_kills(
        self, place: Place, distribution: Callable[..., Distribution]
    ) -> None:
        rehearse(place, distribution)


def rehearse(place: Place, distribution: Callable[..., Distribution]) -> None:
    """People push while servers and collecting processes are killed; then all is judged."""
    seconds = min(duration_seconds(CHURN_SECONDS), place.most_seconds)
    seed = first_seed()
    print(f"SEED={seed}", flush=True)
    chance = random.Random(seed)
    users = [User(place, random.Random(chance.random()), number) for number in range(USERS)]
    troubles: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for user in users:
        user.start()
    try:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, chance.uniform(0.5, 4)))
            troubles[place.disturb(chance, a_server=troubles.total() % 3 == 1)] += 1
    finally:
        for user in users:
            user.end()
    for which in range(COLLECTORS):
        place.end_collector(which)
    tell(place, users, troubles)
    assert [line for user in users for line in user.failures] == []
    asyncio.run(finish(place))
    judge(place, users)
    before = len(place.tree())
    empty_the_trash(place)
    judge(place, users)
    tree = place.tree()
    kept = {path.rpartition("/")[2] for path in tree if path.startswith("_moorage/v1/trash/")}
    assert len(tree) < before and kept <= half_done(tree)
    assert unneeded(tree) == []
    seen = look(tree)
    assert (seen.half, seen.hurt) == ([], {})
    checked = json.loads(place.servers[0].command("storage", "check", "--hash-blobs", "--json").out)
    assert checked["problems"] == [] and checked["repositories"]
    theirs = place.served_by(distribution)
    wire = Wire(theirs.host_port)
    for user in users:
        assert user.ledger.judge(wire, user.name_) == []


def tell(place: Place, users: list[User], troubles: Counter[str]) -> None:
    """Say what happened."""
    done = sum((user.ledger.done for user in users), Counter[str]())
    ended = [report for report in place.reports if "waits" not in report]
    figures = {
        name: sum(report[name] for report in ended)
        for name in ("links_taken", "links_put_back", "blobs_taken", "blobs_put_back", "resumed")
    }
    size = format_size(sum(report["bytes_taken"] for report in ended))
    print(f"{dict(done)}, {sum(user.lost for user in users)} lost; {dict(troubles)}")
    print(f"{len(ended)} collections ended: {figures}, {size}")
    assert [report["troubles"] for report in ended if report["troubles"]] == []
    # Be it by runs that ended or by runs that were killed.
    assert sum(done.values()) and any("/trash/data/" in path for path in place.tree())


async def finish(place: Place) -> None:
    """What a day would bring: whoever died does not come back, and all that is unneeded is collected."""
    async with opened(place.settings) as registry:
        now = await stamped_now(registry.store)
        await registry.intents.sweep(now + LIFE.total_seconds() + 1)
        await registry.door.finish_open(now + ABANDONED.total_seconds() + 1)
    # A run that somebody died in is gone on with, and does not see what became unneeded behind it.
    for _ in range(2):
        while True:
            # The store's clock may tell nothing finer than a second, and "older" is what is taken.
            time.sleep(1.1)
            report = await collect(place.settings, "the last")
            if not report.kept_young:
                break
    assert report.troubles == []


def judge(place: Place, users: list[User]) -> None:
    """Everybody finds what they were told, by either server."""
    for server in place.servers:
        wire = Wire(server.registry.host_port)
        for user in users:
            assert user.ledger.judge(wire, user.name_) == []


def empty_the_trash(place: Place) -> None:
    """All of it, which takes a store that nobody writes to."""
    server = place.servers[0]
    server.command("storage", "read-only", "on")
    # It wants every process to have noticed.
    empty = ("trash", "empty", "--everything", "--yes")
    until(
        # What there is after minutes of all that may take minutes.
        lambda: server.command(*empty, code=None, deadline_seconds=900).code == 0,
        "the trash is emptied",
    )
    server.command("storage", "read-only", "off")


def half_done(tree: Tree) -> set[str]:
    """The removals in which somebody was killed: what they took may be needed, and stays for a day."""
    runs = {path.rpartition("/")[2]: body for path, body in tree.items() if "/trash/runs/" in path}
    return {run for run, body in runs.items() if not json.loads(body)["done"]}


@pytest.mark.parametrize("place", ["disk"], indirect=True)
def test_a_lease_passes_on_when_its_holder_is_killed(place: Place) -> None:
    """Another process finishes the same report."""
    for which in range(COLLECTORS):
        place.end_collector(which)
    asyncio.run(collect(place.settings, "before"))
    repository = place.servers[0].repository("a")
    kept = repository.push(image(), "kept")
    blobs = [repository.push_blob(os.urandom(100)) for _ in range(100)]
    # Slow enough to be met in the middle.
    slow = place.collector(per_second=50)
    slow.wait_until(lambda: any("/trash/runs/" in path for path in place.tree()))
    slow.kill()
    assert slow.log.read_text() == ""
    report = asyncio.run(collect(place.settings, "the other"))
    assert (report.resumed, report.phase) == (1, "done")
    assert report.by.startswith("collector-")
    asyncio.run(collect(place.settings, "the other"))
    assert unneeded(place.tree()) == []
    assert repository.get("kept").body == kept.data
    assert {repository.ask("HEAD", f"blobs/{digest}").status for digest in blobs} == {200}
