"""Deletes, each of which counts in the very next request (dist-spec: Content Management)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.contents import artifact, digest_of, image, index, random_digest
from tests.api.registry import Repository
from tests.api.tree import Tree


def delete(repository: Repository, rest: str) -> int:
    return repository.ask("DELETE", rest).status


def test_a_tag_deleted_is_that_tag_alone(repository: Repository) -> None:
    """trap 40"""
    made = repository.push(image(), "a")
    repository.put(made, "b")
    assert delete(repository, "manifests/a") == 202
    assert repository.get("a").refuses(404, "MANIFEST_UNKNOWN")
    assert repository.tags() == ["b"]
    assert repository.get("b").body == made.data
    assert repository.get(made.digest).body == made.data
    assert delete(repository, "manifests/a") == 404


def test_a_manifest_deleted_takes_its_tags(repository: Repository) -> None:
    """trap 40"""
    made = repository.push(image(), "a")
    repository.put(made, "b")
    kept = repository.push(image(), "kept")
    assert delete(repository, f"manifests/{made.digest}") == 202
    for reference in ("a", "b", made.digest):
        assert repository.get(reference).refuses(404, "MANIFEST_UNKNOWN")
        assert repository.ask("HEAD", f"manifests/{reference}").status == 404
    assert repository.tags() == ["kept"]
    assert repository.get("kept").body == kept.data
    assert delete(repository, f"manifests/{made.digest}") == 404


def test_another_repository_never_notices(repository: Repository, other: Repository) -> None:
    made = repository.push(image(), "latest")
    other.push(made, "latest")
    delete(repository, f"manifests/{made.digest}")
    for blob in made.blobs:
        assert delete(repository, f"blobs/{digest_of(blob)}") == 202
    assert other.get("latest").body == made.data
    for blob in made.blobs:
        assert other.ask("GET", f"blobs/{digest_of(blob)}").body == blob


def test_what_was_deleted_can_be_pushed_again(repository: Repository) -> None:
    made = repository.push(image(), "latest")
    for _ in range(2):
        delete(repository, f"manifests/{made.digest}")
        for blob in made.blobs:
            assert delete(repository, f"blobs/{digest_of(blob)}") == 202
        assert repository.put(made, "latest").refuses(400, "MANIFEST_BLOB_UNKNOWN")
        repository.push(made, "latest")
        assert repository.get("latest").body == made.data


def test_referrers_outlive_their_subject(repository: Repository) -> None:
    """trap 38"""
    subject = repository.push(image(), "latest")
    signature = repository.push(artifact("application/vnd.example", subject.descriptor()))
    delete(repository, f"manifests/{subject.digest}")
    assert repository.get(subject.digest).status == 404
    assert repository.referrers(subject.digest) == [signature.digest]
    assert repository.get(signature.digest).body == signature.data


def test_a_referrer_deleted_is_listed_no_more(repository: Repository) -> None:
    """trap 39"""
    subject = repository.push(image(), "latest")
    tag = f"{subject.digest.replace(':', '-')}.sig"
    kept = repository.push(artifact("application/vnd.example", subject.descriptor()))
    signature = repository.push(artifact("application/vnd.example", subject.descriptor()), tag)
    assert set(repository.referrers(subject.digest)) == {kept.digest, signature.digest}
    delete(repository, f"manifests/{signature.digest}")
    assert repository.referrers(subject.digest) == [kept.digest]
    assert repository.get(tag).status == 404
    repository.push(signature)
    assert set(repository.referrers(subject.digest)) == {kept.digest, signature.digest}


def test_a_blob_that_a_manifest_needs_stays(repository: Repository) -> None:
    """trap 42"""
    made = repository.push(image(), "latest")
    for blob in made.blobs:
        assert repository.ask("DELETE", f"blobs/{digest_of(blob)}").refuses(405, "UNSUPPORTED")
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    # No tag is needed for that.
    delete(repository, "manifests/latest")
    assert delete(repository, f"blobs/{digest_of(made.blobs[0])}") == 405
    delete(repository, f"manifests/{made.digest}")
    assert delete(repository, f"blobs/{digest_of(made.blobs[0])}") == 202


def test_a_blob_that_an_index_lists_stays(repository: Repository) -> None:
    """trap 42"""
    layer = os.urandom(30)
    repository.push_blob(layer)
    repository.push(index([{"mediaType": "a/b", "digest": digest_of(layer), "size": 30}]), "cache")
    assert delete(repository, f"blobs/{digest_of(layer)}") == 405


def test_a_free_blob_goes(repository: Repository) -> None:
    digest = repository.push_blob(os.urandom(30))
    assert delete(repository, f"blobs/{digest}") == 202
    assert repository.ask("GET", f"blobs/{digest}").refuses(404, "BLOB_UNKNOWN")
    assert repository.ask("HEAD", f"blobs/{digest}").status == 404
    assert delete(repository, f"blobs/{digest}") == 404


def test_in_a_very_large_repository_no_blob_goes(serve: Serve, tmp_path: Path) -> None:
    """trap 42"""
    tree = Tree(tmp_path / "data")
    for _ in range(2001):
        tree.manifest("large", index())
    free = tree.blob("large", b"nobody needs this")
    repository = serve(tree.root).repository("large")
    assert repository.ask("DELETE", f"blobs/{free}").refuses(405, "UNSUPPORTED")
    assert repository.ask("GET", f"blobs/{free}").status == 200


def test_nothing_to_delete(repository: Repository, other: Repository) -> None:
    repository.push(image(), "latest")
    for where in (repository, other):
        assert where.ask("DELETE", "manifests/missing").status == 404
        assert where.ask("DELETE", f"manifests/{random_digest()}").status == 404
        assert where.ask("DELETE", f"manifests/{random_digest('sha512')}").status == 404
        assert where.ask("DELETE", f"blobs/{random_digest()}").refuses(404, "BLOB_UNKNOWN")


def test_deletes_switched_off(serve: Serve) -> None:
    """trap 41"""
    repository = serve(settings={"delete": {"enabled": False}}).repository("kept")
    made = repository.push(image(), "latest")
    free = repository.push_blob(os.urandom(30))
    for rest in ("manifests/latest", f"manifests/{made.digest}", f"blobs/{free}", f"blobs/{random_digest()}"):
        assert repository.ask("DELETE", rest).refuses(405, "UNSUPPORTED")
    assert repository.get("latest").body == made.data
    # Giving up an upload is no delete.
    assert repository.registry.ask("DELETE", repository.begin()).status == 204


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_tag_deleted_the_long_way(repository: Repository, by: str) -> None:
    """trap 43"""
    real = repository.push(image(), "latest")
    repository.put(real, "old")
    throw_away = repository.push(image(), "old")
    assert delete(repository, f"manifests/{throw_away.digest}") == 202
    assert repository.get("old").status == 404
    assert repository.get("latest" if by == "tag" else real.digest).body == real.data


def test_an_index_deleted_leaves_its_children(repository: Repository) -> None:
    child = repository.push(image())
    parent = repository.push(index([child.descriptor()]), "latest")
    delete(repository, f"manifests/{parent.digest}")
    assert repository.get(child.digest).body == child.data
    assert delete(repository, f"manifests/{child.digest}") == 202
