"""Manifests by chance: refused for a reason, or taken whole and served as they came."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.client import Answer
from tests.api.contents import OCI_ARTIFACT, ORAS_ARTIFACT, artifact, digest_of, image, index
from tests.api.registry import Repository
from tests.fuzz.manifests import Attempt, Held, attempt
from tests.fuzz.victim import Victim
from tests.soak import rounds

REFUSALS = {400, 404, 405, 413, 414}
FOREIGN = "nondistributable"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """A server; whatever it should not have done fails the test at its end."""
    started = Victim(tmp_path)
    yield started
    checked = started.server.command("storage", "check", code=None)
    assert checked.code == 0, checked.text
    harm = list(started.harm())
    assert harm == [], "\n".join(harm[:20])


@pytest.fixture
def held(victim: Victim) -> Held:
    """What the repository has to begin with."""
    repository = victim.repository
    pushed = [repository.push(image()), repository.push(artifact("application/x-test"))]
    pushed.append(repository.push(index([pushed[0].descriptor()])))
    return Held(
        {repository.push_blob(data): len(data) for data in (b"", b"{}", b"layer" * 100)},
        {one.digest: (one.media_type, len(one.data)) for one in pushed},
    )


def push(repository: Repository, one: Attempt) -> tuple[str, Answer]:
    """Try it; the reference that was used, and the answer."""
    reference = one.reference or digest_of(one.content)
    headers = {} if one.media_type is None else {"Content-Type": one.media_type}
    return reference, repository.ask("PUT", f"manifests/{quote(reference, safe='%:')}", headers, one.content)


def judge(repository: Repository, held: Held, one: Attempt) -> None:
    """Fail unless the answer is right."""
    reference, answer = push(repository, one)
    if answer.status != 201:
        assert answer.status in REFUSALS and answer.codes, answer
        return
    digest = answer["Docker-Content-Digest"]
    assert digest == digest_of(one.content, digest.partition(":")[0])
    for name in (digest, reference):
        served = repository.get(quote(name, safe="%:"))
        assert (served.status, served.body) == (200, one.content), served
        assert served["Content-Type"].startswith("application/") and ";" not in served["Content-Type"]
    document = json.loads(one.content, object_pairs_hook=without_repeats)
    # In a manifest of another kind "blobs" is a field like any that nobody knows.
    field = "blobs" if served["Content-Type"] in (OCI_ARTIFACT, ORAS_ARTIFACT) else "layers"
    for descriptor in [*(document.get(field) or []), document.get("config")]:
        if descriptor and FOREIGN not in descriptor["mediaType"]:
            assert held.blobs[descriptor["digest"]] == descriptor["size"]
    if subject := document.get("subject"):
        assert answer["OCI-Subject"] == subject["digest"]
        assert digest in repository.referrers(subject["digest"])
    assert "latest" in repository.tags()
    held.manifests[digest] = (served["Content-Type"], len(one.content))


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, of which no key may repeat."""
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def campaign(repository: Repository, held: Held, seed: int, count: int) -> None:
    """Judge so many pushes; what fails is told with its bytes."""
    for number in range(count):
        chance = random.Random(f"{seed}:{number}")
        one = attempt(chance, held)
        try:
            judge(repository, held, one)
        except (AssertionError, KeyError, TypeError, ValueError, OSError) as error:
            raise AssertionError(f"SEED={seed}, push {number}: {error!r}\n{one!r}"[:5000]) from error


@pytest.mark.e2e
def test_manifests(victim: Victim, held: Held) -> None:
    campaign(victim.repository, held, 1, 600)


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.timeout(0)
def test_manifests_for_as_long_as_one_likes(victim: Victim, held: Held) -> None:
    for seed in rounds(8):
        campaign(victim.repository, held, seed, 300)
