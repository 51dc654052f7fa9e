"""Undo and promote as people do them: crane pushes and pulls, moorage restores and copies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.server import Server, moorage
from tests.e2e.client import Client
from tests.e2e.images import IMAGE, Content, Image, Index, NewImage, document, index, write_layout
from tests.e2e.wire import Wire
from tests.equipment.absence import require


@dataclass(frozen=True)
class Place:
    """A registry with a client."""

    wire: Wire
    crane: Client
    scratch: Path

    def reference(self, reference: str) -> str:
        return f"{self.wire.host_port}/{reference}"

    def push(self, reference: str, image: Image | Index) -> None:
        if isinstance(image, Index):
            # crane would put the layout's own index around it.
            name, _, tag = reference.partition(":")
            self.wire.push(name, image, tag)
            return
        self.crane("push", write_layout(image, self.crane.scratch()), self.reference(reference))

    def pulls(self, reference: str, image: Image | Index) -> None:
        """Fail unless the reference is that image, to every byte, for crane and for us."""
        assert self.crane("digest", self.reference(reference)).out.strip() == image.digest
        self.crane("validate", "--remote", self.reference(reference))
        name, _, tag = reference.partition(":")
        assert self.wire.whole(name, tag) == {content.digest for content in image.contents}

    def is_gone(self, reference: str) -> bool:
        return self.crane("digest", self.reference(reference), code=None).code != 0

    def moorage(self, *words: str, code: int = 0) -> Any:
        """Do an operation by a command; its result, and what it told if it failed."""
        done = moorage(*words, "--json", "--server", f"http://{self.wire.host_port}", code=code)
        return json.loads(done.out) if code == 0 else done.err

    def ask(self, operation: str, **given: object) -> Any:
        """Do an operation by the API; its result."""
        headers = {"Content-Type": "application/json"}
        answer = self.wire.ask("POST", f"/api/v1/{operation}", headers, json.dumps(given).encode())
        assert answer.status == 200, answer
        return answer.json()["result"]


@pytest.fixture
def place(scratch: Path) -> Iterator[Place]:
    crane = Client((str(require("crane")), "--insecure"), scratch)
    server = Server(scratch / "data", scratch)
    yield Place(Wire(server.registry.host_port), crane, scratch)
    server.stop()


def test_a_tag_that_was_deleted_or_pushed_over_names_what_it_did(place: Place, new_image: NewImage) -> None:
    old = index(new_image(random_bytes=1000), new_image(random_bytes=1000, architecture="arm64"))
    new = new_image(random_bytes=1000)
    place.push("team/app:1", old)
    place.push("team/app:1", new)
    shown = place.ask("tag/history", reference="team/app:1")["entries"]
    assert [(one["replaced"], one["digest"]) for one in shown] == [
        (old.digest, new.digest),
        (None, old.digest),
    ]
    place.ask("tag/restore", reference=f"team/app:1@{old.digest}")
    place.pulls("team/app:1", old)
    # And now everything of it goes: the index with its tag, and what it lists.
    for digest in (old.digest, *(image.digest for image in old.images)):
        place.crane("delete", place.reference(f"team/app@{digest}"))
    assert place.is_gone("team/app:1")
    place.moorage("tag", "restore", f"team/app:1@{old.digest}")
    place.pulls("team/app:1", old)
    refused = place.moorage("tag", "restore", f"team/app:1@sha256:{'0' * 64}", code=1)
    assert f"sha256:{'0' * 64}" in refused
    place.pulls("team/app:1", old)


def test_a_deleted_repository_comes_back(place: Place, new_image: NewImage) -> None:
    images = {str(number): new_image(random_bytes=1000) for number in (1, 2)}
    for tag, image in images.items():
        place.push(f"team/app:{tag}", image)
    signature = attach(place.wire, "team/app", images["1"])
    place.ask("repo/delete", repository="team/app")
    assert place.is_gone("team/app:1") and place.wire.status("/v2/team/app/tags/list") == 404
    place.moorage("repo", "restore", "team/app")
    for tag, image in images.items():
        place.pulls(f"team/app:{tag}", image)
    assert [one["digest"] for one in place.wire.referrers("team/app", images["1"].digest)] == [signature]
    # The list of removals has it, and so has the audit.
    assert [one["tags"] for one in place.ask("trash/list", repository="team/app")["runs"]] == [2]
    (entry,) = [one for one in place.ask("audit/list")["entries"] if one["event"] == "repository.restored"]
    assert (entry["repository"], entry["outcome"]) == ("team/app", "done")


def test_a_promoted_image_has_the_same_digest_and_its_signatures(place: Place, new_image: NewImage) -> None:
    both = index(new_image(random_bytes=1000), new_image(random_bytes=1000, architecture="arm64"))
    place.push("team/dev:1", both)
    signature = attach(place.wire, "team/dev", both)
    of_platform = attach(place.wire, "team/dev", both.images[0])
    beside = new_image(random_bytes=100)
    place.push(f"team/dev:{both.digest.replace(':', '-')}.sig", beside)
    copied = place.moorage("tag", "copy", "team/dev:1", "team/prod:1")
    assert (copied["digest"], copied["referrers"], copied["left"]) == (both.digest, 3, [])
    place.ask("repo/delete", repository="team/dev")
    place.pulls("team/prod:1", both)
    place.pulls(f"team/prod:{both.digest.replace(':', '-')}.sig", beside)
    assert [one["digest"] for one in place.wire.referrers("team/prod", both.digest)] == [signature]
    place.wire.whole("team/prod", signature)
    place.wire.whole("team/prod", of_platform)


def attach(wire: Wire, repository: str, to: Image | Index) -> str:
    """Push what refers to an image, as cosign and oras do; its digest."""
    content = Content("application/vnd.example.signature", b"signed: " + to.digest.encode())
    config = Content("application/vnd.oci.empty.v1+json", b"{}")
    manifest = Content(
        IMAGE,
        document(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "artifactType": "application/vnd.example.signature",
                "config": config.descriptor(),
                "layers": [content.descriptor()],
                "subject": to.manifest.descriptor(),
            }
        ),
    )
    signature = Image(manifest, config, (content,), (), "", "")
    wire.push(repository, signature, manifest.digest)
    return manifest.digest
