"""A copy made file by file, or object by object, while people push: what was acknowledged before is in it.

Whatever else it has is served or is not there, and what is not whole is told.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.contents import Manifest, artifact, digest_of, image, index
from tests.api.registry import Repository
from tests.api.server import Server
from tests.e2e.buckets import serve
from tests.e2e.versity import versity
from tests.e2e.wire import MANIFEST_TYPES, Wire
from tests.equipment.absence import require
from tests.server.conftest import until
from tests.soak import first_seed
from tests.storage.buckets import Bucket, client_of

NAMES = ("a", "a/b", "team/app", "z")
POOL = [os.urandom(2000) for _ in range(3)]
KIB_PER_SECOND = 50  # of a hundred or so
EVERY = 20  # objects, between which somebody pushes
ACCEPT = {"Accept": ", ".join(MANIFEST_TYPES)}


class User(threading.Thread):
    """Pushes images under tags of their own and moves one tag; now and then an image is deleted."""

    def __init__(self, server: Server, name: str, chance: random.Random) -> None:
        super().__init__()
        self.name_ = name
        self._repository: Repository = server.repository(name)
        self._chance = chance
        self._over = threading.Event()
        self.failure = ""
        self.acknowledged: dict[str, Manifest] = {}
        self.deleted: set[str] = set()
        self.moved: list[Manifest] = []

    def run(self) -> None:
        """Until told to end."""
        try:
            while not self._over.is_set():
                self._step()
        except BaseException as problem:
            self.failure = f"{self.name_}: {problem!r}"
            raise

    def end(self) -> None:
        """After the step that it is at."""
        self._over.set()
        self.join()
        assert not self.failure

    def _step(self) -> None:
        known = [one for tag, one in self.acknowledged.items() if tag not in self.deleted]
        kind = self._chance.choices(("image", "index", "artifact", "delete"), (6, 1, 1, 1))[0]
        if kind == "delete" and len(known) > 5:
            tag = next(tag for tag in self.acknowledged if tag not in self.deleted)
            self.deleted.add(tag)
            # Not by its digest, which others may need.
            assert self._repository.ask("DELETE", f"manifests/{tag}").status == 202
            return
        if kind == "index" and len(known) > 2:
            made = index([one.descriptor() for one in self._chance.sample(known, 2)])
        elif kind == "artifact" and known:
            made = artifact("application/vnd.example", self._chance.choice(known).descriptor())
        else:
            made = image([self._chance.choice(POOL), os.urandom(300)])
        tag = f"t{len(self.acknowledged)}"
        self._repository.push(made, tag)
        if self._chance.random() < 0.3:
            assert self._repository.put(made, "latest").status == 201
            self.moved.append(made)
        self.acknowledged[tag] = made


class Place(ABC):
    """Where the registry lies, and where the copy does."""

    @abstractmethod
    def serve(self) -> Server:
        """The registry that is pushed to."""

    @abstractmethod
    def copy(self, crowd: Crowd) -> None:
        """Copy it as it is, naively, while the crowd pushes."""

    @abstractmethod
    def serve_copy(self) -> Server:
        """A registry on the copy."""

    @abstractmethod
    def copied(self) -> set[str]:
        """The keys of the copy."""


class Crowd:
    """All users."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self.users = [User(server, name, random.Random(chance.random())) for name in NAMES]

    def pushed(self) -> int:
        """How many tags were acknowledged."""
        return sum(len(user.acknowledged) for user in self.users)

    def wait(self, more: int = 1) -> None:
        """Let so many be pushed."""
        wanted = self.pushed() + more
        until(lambda: self.pushed() >= wanted or any(user.failure for user in self.users), "somebody pushes")


class ByRsync(Place):
    """A directory, copied by rsync."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.root, self.other = scratch / "root", scratch / "copy"
        self.program = str(require("rsync"))

    def serve(self) -> Server:
        return Server(self.root, self.scratch)

    def copy(self, crowd: Crowd) -> None:
        crowd.wait()
        ended = subprocess.run(
            [self.program, "-a", f"--bwlimit={KIB_PER_SECOND}", f"{self.root}/", f"{self.other}/"],
            capture_output=True,
            timeout=120,
        )
        # 24: files were gone before they were copied.
        assert ended.returncode in (0, 24), ended.stderr

    def serve_copy(self) -> Server:
        return Server(self.other, self.scratch)

    def copied(self) -> set[str]:
        return {str(path.relative_to(self.other)) for path in self.other.rglob("*") if path.is_file()}


class ByHand(ByRsync):
    """A directory, copied file by file in the order of names, and slowly."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.root, self.other = scratch / "root", scratch / "copy"

    def copy(self, crowd: Crowd) -> None:
        count = 0
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            target = self.other / Path(folder).relative_to(self.root)
            target.mkdir(parents=True, exist_ok=True)
            for name in sorted(files):
                try:
                    shutil.copy2(Path(folder) / name, target / name)
                except FileNotFoundError:
                    continue
                count += 1
                if count % EVERY == 0:
                    crowd.wait()


class OfABucket(Place):
    """A bucket, copied key by key in the order of the listing."""

    def __init__(self, scratch: Path, endpoint: str) -> None:
        self.scratch = scratch
        self.bucket = Bucket(client_of(endpoint), "registries/pushed")
        self.other = Bucket(client_of(endpoint), "registries/pushed")

    def serve(self) -> Server:
        return serve(self.bucket, self.scratch)

    def copy(self, crowd: Crowd) -> None:
        pages = self.bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket.name, PaginationConfig={"PageSize": EVERY}
        )
        for page in pages:
            for one in page.get("Contents", ()):
                key = one["Key"].removeprefix(f"{self.bucket.prefix}/")
                data = self.bucket.get(key)
                if data is not None:
                    self.other.set(key, data)
            crowd.wait()

    def serve_copy(self) -> Server:
        return serve(self.other, self.scratch)

    def copied(self) -> set[str]:
        return {name for name in self.other.names() if not name.startswith("upload of ")}


@pytest.fixture(params=["rsync", "by hand", "a bucket"])
def place(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Place]:
    """Each kind."""
    if request.param == "rsync":
        yield ByRsync(scratch)
    elif request.param == "by hand":
        yield ByHand(scratch)
    else:
        (folder := scratch / "buckets").mkdir()
        with versity(require("versitygw"), folder) as endpoint:
            yield OfABucket(scratch, endpoint)


def test_a_copy_taken_while_pushing_has_all_that_was_acknowledged_before(place: Place) -> None:
    seed = first_seed()
    print(f"SEED={seed}")
    server = place.serve()
    crowd = Crowd(server, random.Random(seed))
    # A session that nobody ends.
    answer = server.registry.ask("PATCH", server.repository("a").begin(), body=b"half done")
    for user in crowd.users:
        user.start()
    try:
        until(
            lambda: all(len(user.acknowledged) > 8 and user.moved for user in crowd.users), "all have begun"
        )
        before = {user.name_: dict(user.acknowledged) for user in crowd.users}
        latest = {user.name_: user.moved[-1] for user in crowd.users}
        count = crowd.pushed()
        place.copy(crowd)
        meanwhile = crowd.pushed() - count
    finally:
        for user in crowd.users:
            user.end()
        server.stop()
    print(f"{meanwhile} pushes while {len(place.copied())} objects were copied")
    assert meanwhile

    copy = place.serve_copy()
    try:
        wire = Wire(copy.registry.host_port)
        for user in crowd.users:
            for tag, made in before[user.name_].items():
                if tag not in user.deleted:
                    assert made.digest in wire.whole(user.name_, tag), (user.name_, tag)
        broken = look_at_all(copy, place.copied())
        told = json.loads(copy.command("storage", "adopt", "--dry-run", "--json", code=None).out)
        assert {(one["repository"], one["tag"]) for one in told["spoilt_tags"]} == broken
        assert copy.command("storage", "check", code=None).code == (4 if told["damaged"] else 0)
        print(f"not whole: {sorted(broken)}")
        # What a tag that was moved meanwhile has named before is in the copy, and its history says so.
        for name, made in latest.items():
            assert made.digest in wire.whole(name, made.digest)
            if (name, "latest") in broken:
                copy.command("tag", "restore", f"{name}:latest@{made.digest}")
                assert made.digest in wire.whole(name, "latest")
        assert (
            copy.registry.ask("PUT", answer["Location"] + f"&digest={digest_of(b'half done')}").status < 500
        )
        # The same pushes again make it whole.
        known = {(user.name_, tag): made for user in crowd.users for tag, made in user.acknowledged.items()}
        for name, tag in broken & known.keys():
            copy.repository(name).push(known[name, tag], tag)
        for name, tag in broken & known.keys():
            assert known[name, tag].digest in wire.whole(name, tag)
    finally:
        copy.stop()


def look_at_all(copy: Server, keys: set[str]) -> set[tuple[str, str]]:
    """Ask for everything that is in a copy, in each way; the tags that cannot be pulled whole."""
    wire = Wire(copy.registry.host_port)
    broken = set()
    for name in NAMES:
        prefix = f"docker/registry/v2/repositories/{name}/_"
        own = [key.removeprefix(prefix).split("/") for key in keys if key.startswith(prefix)]
        for kind, *rest in own:
            if kind == "layers" and len(rest) == 3:
                asked = [f"blobs/{rest[0]}:{rest[1]}"]
            elif kind == "manifests" and rest[0] == "revisions":
                asked = [f"manifests/{rest[1]}:{rest[2]}", f"referrers/{rest[1]}:{rest[2]}"]
            else:
                continue
            for what in asked:
                for method in ("GET", "HEAD"):
                    answer = wire.ask(method, f"/v2/{name}/{what}", dict(ACCEPT))
                    assert answer.status in (200, 404), (name, method, what, answer)
        listed = wire.ask("GET", f"/v2/{name}/tags/list")
        assert listed.status in (200, 404)
        for tag in listed.json()["tags"] if listed.status == 200 else ():
            for method in ("GET", "HEAD"):
                answer = wire.ask(method, f"/v2/{name}/manifests/{tag}", dict(ACCEPT))
                assert answer.status in (200, 404), (name, method, tag, answer)
            try:
                wire.whole(name, tag)
            except AssertionError as problem:
                assert ": 404 " in str(problem), problem
                broken.add((name, tag))
    assert wire.ask("GET", "/v2/_catalog").status == 200
    return broken
