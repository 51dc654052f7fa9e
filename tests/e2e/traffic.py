"""Clients that push, pull, delete and move tags at random, and remember what they were told."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException

from tests.api.contents import digest_of
from tests.api.registry import Registry, closing
from tests.e2e.client import Client
from tests.e2e.docker import Docker
from tests.e2e.images import Image, NewImage, write_layout
from tests.e2e.wire import MANIFEST_TYPES, Wire

TAGS = ("a", "b", "c")
# A digest that nobody knows until it is acknowledged.
UNKNOWN = "?"
# What a client that loses its server raises: a command's exit code, or a connection's end.
LOST = (AssertionError, OSError, HTTPException)


@dataclass(slots=True)
class Ledger:
    """What was acknowledged of one repository, whose only user keeps it; of the rest either may be so."""

    images: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    tags: dict[str, set[str | None]] = field(default_factory=lambda: {tag: {None} for tag in TAGS})
    doubtful: dict[str, set[str | None]] = field(default_factory=lambda: {tag: set() for tag in TAGS})
    done: Counter[str] = field(default_factory=Counter)

    def pushing(self, digest: str, tag: str) -> None:
        """A push of a tag begins; until it is acknowledged, and for ever if it is not, both may be so."""
        self.tags[tag].add(digest)
        self.doubtful[tag].add(digest)

    def pushed(self, digest: str, tag: str, called: str) -> None:
        """It was acknowledged; `called` is what it was called before."""
        self.images.add(digest)
        self.tags[tag] = {digest}
        self.doubtful[tag].discard(called)

    def deleting(self, digest: str) -> None:
        """A delete begins: the image may be gone, and every tag that names it."""
        self.images.discard(digest)
        for tag in TAGS:
            if digest in self.tags[tag]:
                self.tags[tag].add(None)

    def gone(self, digest: str) -> None:
        """It was acknowledged."""
        self.deleted.add(digest)
        for tag in TAGS:
            self.tags[tag].discard(digest)
            self.doubtful[tag].discard(digest)

    def judge(self, wire: Wire, repository: str) -> list[str]:
        """Everything that is not as somebody was told."""
        wrong = []
        for digest in self.images:
            try:
                # The digest of a manifest says what it consists of; each blob is compared with its own.
                wire.whole(repository, digest)
            except AssertionError as problem:
                wrong.append(f"{repository}@{digest}: {problem}")
        wrong += [
            f"{repository}@{digest} was deleted and is there"
            for digest in self.deleted
            if wire.status(f"/v2/{repository}/manifests/{digest}") != 404
        ]
        for tag, may_be in self.tags.items():
            accept = {"Accept": ", ".join(MANIFEST_TYPES)}
            answer = wire.ask("HEAD", f"/v2/{repository}/manifests/{tag}", accept)
            found = answer.headers.get("docker-content-digest") if answer.status == 200 else None
            may_be = may_be | self.doubtful[tag]
            if found not in may_be and (UNKNOWN not in may_be or found in self.deleted):
                wrong.append(f"{repository}:{tag} is {found}, and could be {may_be}")
        return wrong


class Traffic(ABC):
    """One client of one repository; a step may be interrupted anywhere."""

    def __init__(self, chance: random.Random, place: str, new_image: NewImage) -> None:
        self.chance = chance
        self.place = place
        self.new_image = new_image
        self.repository = f"soak/{type(self).__name__.lower()}-{chance.getrandbits(32):08x}"
        self.ledger = Ledger()

    def step(self) -> None:
        """One thing that a user would do."""
        kind = self.chance.choices(("push", "pull", "move", "delete"), (4, 3, 1, 1))[0]
        known = sorted(self.ledger.images)
        if kind == "push" or len(known) < 3:
            kind, image, tag = "push", self.image(), self.chance.choice(TAGS)
            called = self.called(image)
            self.ledger.pushing(called, tag)
            self.ledger.pushed(self.push(image, tag), tag, called)
        elif kind == "pull":
            self.pull(self.chance.choice(known))
        elif kind == "move":
            digest, tag = self.chance.choice(known), self.chance.choice(TAGS)
            self.ledger.pushing(digest, tag)
            self.move(digest, tag)
            self.ledger.pushed(digest, tag, digest)
        else:
            digest = self.chance.choice(known)
            self.ledger.deleting(digest)
            self.delete(digest)
            self.ledger.gone(digest)
        self.ledger.done[kind] += 1

    def image(self) -> Image:
        """A new one."""
        return self.new_image(random_bytes=self.chance.choice((1000, 100_000, 3_000_000)))

    def called(self, image: Image) -> str:
        """The digest under which it will be pushed."""
        return image.digest

    def reference(self, what: str) -> str:
        """How clients name a tag or digest here."""
        return f"{self.place}/{self.repository}{'@' if ':' in what else ':'}{what}"

    def move(self, digest: str, tag: str) -> None:
        """Let a tag name an image that is there."""
        wire, path = Wire(self.place), f"/v2/{self.repository}/manifests/{tag}"
        found = wire.manifest(self.repository, digest)
        answer = wire.ask("PUT", path, {"Content-Type": found.media_type}, found.data)
        assert answer.status == 201, answer

    def delete(self, digest: str) -> None:
        """Delete an image."""
        answer = Wire(self.place).ask("DELETE", f"/v2/{self.repository}/manifests/{digest}")
        assert answer.status == 202, answer

    @abstractmethod
    def push(self, image: Image, tag: str) -> str:
        """Push an image; the digest that was acknowledged."""

    @abstractmethod
    def pull(self, digest: str) -> None:
        """Pull an image and see that it is whole."""


class WithDocker(Traffic):
    """docker, whose manifests are its own: what it says it pushed is what counts."""

    def __init__(self, chance: random.Random, place: str, new_image: NewImage, docker: Docker) -> None:
        super().__init__(chance, place, new_image)
        self._docker = docker

    def called(self, image: Image) -> str:
        return UNKNOWN

    def push(self, image: Image, tag: str) -> str:
        self._docker.load(image, self.reference(tag))
        try:
            return self._docker.push(self.reference(tag))
        finally:
            self._docker("rmi", "--force", self.reference(tag), code=None)

    def pull(self, digest: str) -> None:
        self._docker("pull", self.reference(digest))
        self._docker("rmi", "--force", self.reference(digest))


class WithSkopeo(Traffic):
    """skopeo, which also deletes."""

    def __init__(self, chance: random.Random, place: str, new_image: NewImage, skopeo: Client) -> None:
        super().__init__(chance, place, new_image)
        self._skopeo = skopeo

    def push(self, image: Image, tag: str) -> str:
        source = write_layout(image, self._skopeo.scratch())
        self._skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:1", f"docker://{self.reference(tag)}")
        return image.digest

    def pull(self, digest: str) -> None:
        back = self._skopeo.scratch()
        self._skopeo("copy", "--src-tls-verify=false", f"docker://{self.reference(digest)}", f"dir:{back}")

    def delete(self, digest: str) -> None:
        self._skopeo("delete", "--tls-verify=false", f"docker://{self.reference(digest)}")


class WithHttp(Traffic):
    """Plain requests: uploads in pieces, which are taken up where they stopped when the server is lost."""

    def __init__(
        self, chance: random.Random, place: str, new_image: NewImage, wait: Callable[[], None]
    ) -> None:
        super().__init__(chance, place, new_image)
        self._registry = Registry(place)
        self._wait = wait

    def push(self, image: Image, tag: str) -> str:
        for content in image.contents[:-1]:
            self._upload(content.data)
        path = f"/v2/{self.repository}/manifests/{tag}"
        headers = {"Content-Type": image.manifest.media_type}
        answer = self._registry.ask("PUT", path, headers, image.manifest.data)
        assert answer.status == 201, answer
        return image.digest

    def pull(self, digest: str) -> None:
        Wire(self.place).whole(self.repository, digest)

    def _upload(self, data: bytes) -> None:
        location = self._registry.repository(self.repository).begin()
        sent = 0
        while sent < len(data):
            piece = data[sent : sent + self.chance.choice((50_000, 500_000, 5_000_000))]
            place = {"Content-Range": f"{sent}-{sent + len(piece) - 1}"}
            try:
                body = slowly(piece) if self.chance.random() < 0.2 else piece
                answer = self._registry.ask("PATCH", location, place, body)
                assert answer.status in (202, 416, 503), answer
                sent += len(piece) if answer.status == 202 else 0
            except (OSError, HTTPException):
                answer = None
            if answer is None or answer.status != 202:
                self._wait()
                self.ledger.done["resumed"] += 1
                told = self._registry.ask("GET", location)
                assert told.status == 204, told
                have = int(told["Range"].removeprefix("0-")) + 1
                assert have >= sent, "a piece that was acknowledged is lost"
                sent = have
        closed = self._registry.ask("PUT", closing(location, digest_of(data)))
        assert closed.status == 201, closed


def slowly(piece: bytes) -> Iterator[bytes]:
    """A body that takes its time, so that a server may be lost in the middle of it."""
    for start in range(0, len(piece), 65536):
        yield piece[start : start + 65536]
        time.sleep(0.05)
