"""What refers to a manifest (dist-spec: Listing Referrers, Pushing Manifests with Subject)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.api import contents
from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.contents import Manifest, artifact, digest_of, image, index, random_digest
from tests.api.registry import Repository, next_page
from tests.api.tree import Tree

LIMIT = 4 << 20
SBOM = "application/vnd.example.sbom+json"
SIGNATURE = "application/vnd.example.signature"


def listing(repository: Repository, digest: str, query: str = "") -> Answer:
    """A list of referrers, which is an index whatever it holds."""
    answer = repository.ask("GET", f"referrers/{digest}{query}")
    assert answer.status == 200, answer
    assert answer["Content-Type"] == contents.OCI_INDEX
    document = answer.json()
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == contents.OCI_INDEX
    assert isinstance(document["manifests"], list)
    return answer


def entries(repository: Repository, digest: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = listing(repository, digest, query).json()["manifests"]
    return found


@pytest.fixture
def subject(repository: Repository) -> Manifest:
    return repository.push(image(), "latest")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_of_what_was_never_seen(other: Repository, algorithm: str) -> None:
    """trap 3"""
    for digest in (random_digest(algorithm), f"sha256:{'0' * 64}"):
        assert entries(other, digest) == []
    assert entries(other, random_digest(algorithm), "?artifactType=a%2Fb") == []


def test_of_what_has_none(repository: Repository, subject: Manifest) -> None:
    assert entries(repository, subject.digest) == []
    assert listing(repository, subject.digest).get("OCI-Filters-Applied") is None


@pytest.mark.parametrize(
    "digest", ["sha256:xyz", "sha256", "latest", "sha256:" + "A" * 64, "%00", "sha256:%0A"]
)
def test_of_what_is_no_digest(repository: Repository, digest: str) -> None:
    """trap 4"""
    assert repository.ask("GET", f"referrers/{digest}").refuses(400, "DIGEST_INVALID")


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("make", [image, index])
def test_a_subject_that_is_not_here(repository: Repository, make: Any, by: str) -> None:
    """trap 21, trap 22: images and indexes alike, at every push."""
    absent = image()
    made: Manifest = make(subject=absent.descriptor())
    for blob in made.blobs:
        repository.push_blob(blob)
    for _ in range(2):
        put = repository.put(made, "attached" if by == "tag" else made.digest)
        assert put.status == 201
        assert put["OCI-Subject"] == absent.digest
    assert repository.referrers(absent.digest) == [made.digest]
    repository.push(absent, "late")
    assert repository.referrers(absent.digest) == [made.digest]


def test_a_manifest_without_a_subject_says_nothing_of_one(repository: Repository) -> None:
    made = repository.push(image())
    assert repository.put(made).get("OCI-Subject") is None


def test_what_an_entry_says(repository: Repository, subject: Manifest) -> None:
    annotations = {"org.example.who": "Jürgen ☂", "plain": "x"}
    made = repository.push(artifact(SBOM, subject.descriptor(), annotations=annotations))
    assert entries(repository, subject.digest) == [
        made.descriptor(artifactType=SBOM, annotations=annotations)
    ]


def test_types_that_nobody_declared(repository: Repository, subject: Manifest) -> None:
    """trap 36"""
    chart = "application/vnd.cncf.helm.config.v1+json"
    from_config = repository.push(image(config_type=chart, subject=subject.descriptor()))
    empty_type = repository.push(image(config_type=chart, subject=subject.descriptor(), artifactType=""))
    no_type = repository.push(index(subject=subject.descriptor()))
    declared = repository.push(index(subject=subject.descriptor(), artifactType=SBOM))
    found = {entry["digest"]: entry for entry in entries(repository, subject.digest)}
    assert found[from_config.digest]["artifactType"] == chart
    assert found[empty_type.digest]["artifactType"] == chart
    assert "artifactType" not in found[no_type.digest]
    assert found[declared.digest]["artifactType"] == SBOM
    filtered = entries(repository, subject.digest, f"?artifactType={chart}")
    assert {entry["digest"] for entry in filtered} == {from_config.digest, empty_type.digest}


def test_artifacts_with_the_empty_config(repository: Repository, subject: Manifest) -> None:
    """trap 37"""
    made = [repository.push(artifact(None, subject.descriptor())) for _ in range(3)]
    found = entries(repository, subject.digest, f"?artifactType={contents.EMPTY}")
    assert {entry["digest"] for entry in found} == {one.digest for one in made}
    assert {entry["artifactType"] for entry in found} == {contents.EMPTY}
    assert repository.ask("GET", f"blobs/{digest_of(b'{}')}").body == b"{}"


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b", "%20"])
@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_filters_in_every_spelling(repository: Repository, subject: Manifest, plus: str, slash: str) -> None:
    """trap 35"""
    sbom = repository.push(artifact(SBOM, subject.descriptor()))
    repository.push(artifact(SIGNATURE, subject.descriptor()))
    answer = listing(
        repository, subject.digest, f"?artifactType={SBOM.replace('+', plus).replace('/', slash)}"
    )
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [sbom.digest]
    assert answer["OCI-Filters-Applied"] == "artifactType"


def test_several_filters_mean_any_of_them(repository: Repository, subject: Manifest) -> None:
    """trap 35"""
    sbom = repository.push(artifact(SBOM, subject.descriptor()))
    signature = repository.push(artifact(SIGNATURE, subject.descriptor()))
    repository.push(artifact("application/vnd.example.other", subject.descriptor()))
    query = f"?artifactType={SIGNATURE}&artifactType={SBOM}"
    assert set(repository.referrers(subject.digest, query)) == {sbom.digest, signature.digest}


def test_a_filter_that_nothing_matches(repository: Repository, subject: Manifest) -> None:
    repository.push(artifact(SBOM, subject.descriptor()))
    answer = listing(repository, subject.digest, "?artifactType=application%2Fvnd.example")
    assert answer.json()["manifests"] == []
    assert answer["OCI-Filters-Applied"] == "artifactType"


def test_a_referrer_of_a_referrer(repository: Repository, subject: Manifest) -> None:
    sbom = repository.push(artifact(SBOM, subject.descriptor()))
    signature = repository.push(artifact(SIGNATURE, sbom.descriptor()))
    assert repository.referrers(subject.digest) == [sbom.digest]
    assert repository.referrers(sbom.digest) == [signature.digest]


def test_lists_belong_to_their_repository(repository: Repository, other: Repository) -> None:
    subject = repository.push(image())
    repository.push(artifact(SBOM, subject.descriptor()))
    other.push(subject)
    assert other.referrers(subject.digest) == []


def test_five_thousand_signatures_are_one_page(serve: Serve, tmp_path: Path) -> None:
    """trap 34"""
    tree = Tree(tmp_path / "data")
    subject = image()
    tree.manifest("signed", subject, "latest")
    made = [index(subject=subject.descriptor(), artifactType=SIGNATURE) for _ in range(5000)]
    for one in made:
        tree.manifest("signed", one)
    answer = listing(serve(tree.root).repository("signed"), subject.digest)
    assert next_page(answer) is None
    assert {entry["digest"] for entry in answer.json()["manifests"]} == {one.digest for one in made}


@pytest.mark.parametrize("query", ["", f"?artifactType={SBOM}"])
def test_a_page_stays_below_what_clients_read(repository: Repository, subject: Manifest, query: str) -> None:
    """trap 34"""
    notes = [
        repository.push(artifact(SBOM, subject.descriptor(), annotations={"note": os.urandom(150_000).hex()}))
        for _ in range(20)
    ]
    found: list[str] = []
    target: str | None = repository.path(f"referrers/{subject.digest}{query}")
    pages = 0
    while target is not None:
        answer = repository.registry.ask("GET", target)
        assert answer.status == 200
        assert answer["Content-Type"] == contents.OCI_INDEX
        assert len(answer.body) <= LIMIT
        found += [entry["digest"] for entry in answer.json()["manifests"]]
        target = next_page(answer)
        pages += 1
    assert pages > 1
    assert sorted(found) == sorted(note.digest for note in notes)


def test_fallback_tags_are_ordinary_tags(repository: Repository, subject: Manifest) -> None:
    """Clients that began on another registry keep them, and the list is right without them."""
    sbom = repository.push(artifact(SBOM, subject.descriptor()))
    tag = subject.digest.replace(":", "-")
    fallback = repository.push(index([sbom.descriptor(artifactType=SBOM)]), tag)
    assert repository.get(tag).body == fallback.data
    assert repository.tags() == ["latest", tag]
    assert repository.referrers(subject.digest) == [sbom.digest]
    assert repository.ask("DELETE", f"manifests/{tag}").status == 202
    assert repository.get(tag).status == 404
    signed = repository.push(image(), f"{tag}.sig")
    assert repository.get(f"{tag}.sig").body == signed.data


def test_what_another_program_wrote_is_listed(serve: Serve, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    subject = image()
    tree.manifest("adopted", subject, "latest")
    signature = artifact(SIGNATURE, subject.descriptor())
    tree.manifest("adopted", signature)
    server = serve(tree.root)
    repository = server.repository("adopted")
    assert repository.referrers(subject.digest) == [signature.digest]
    # … and what it writes now is, once somebody says so, while the server serves.
    late = artifact(SBOM, subject.descriptor())
    tree.manifest("adopted", late)
    server.command("storage", "reindex")
    assert set(repository.referrers(subject.digest)) == {signature.digest, late.digest}
    assert repository.get("latest").body == subject.data


def test_the_withdrawn_artifact_type_has_subjects_too(repository: Repository, subject: Manifest) -> None:
    document = {
        "mediaType": contents.ORAS_ARTIFACT,
        "artifactType": SBOM,
        "blobs": [],
        "subject": subject.descriptor(),
    }
    made = Manifest(json.dumps(document).encode(), contents.ORAS_ARTIFACT)
    put = repository.put(made)
    assert (put.status, put["OCI-Subject"]) == (201, subject.digest)
    assert entries(repository, subject.digest) == [made.descriptor(artifactType=SBOM)]


def test_a_subject_of_an_algorithm_that_we_do_not_know(repository: Repository) -> None:
    strange = {
        "mediaType": contents.OCI_IMAGE,
        "digest": "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "size": 5,
    }
    made = repository.push(artifact(SBOM, strange))
    assert repository.put(made)["OCI-Subject"] == strange["digest"]
    assert repository.referrers(str(strange["digest"])) == [made.digest]
