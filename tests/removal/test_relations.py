"""What leads to what among the manifests of a repository."""

from __future__ import annotations

from registry.model.digests import Digest
from registry.removal.relations import ManifestFacts, in_order, unneeded


def digest_of(number: int) -> Digest:
    return Digest.of(str(number).encode())


def manifest(*listed: int, subject: int | None = None) -> ManifestFacts:
    return ManifestFacts(
        0.0, frozenset(map(digest_of, listed)), None if subject is None else digest_of(subject)
    )


def test_what_roots_lead_to_is_needed() -> None:
    manifests = {
        digest_of(1): manifest(2, 3),  # an index of an index and of what is not here
        digest_of(2): manifest(4),
        digest_of(4): manifest(),
        digest_of(5): manifest(subject=4),  # a signature of the innermost
        digest_of(6): manifest(7, subject=5),  # and what refers to that, with what it lists
        digest_of(7): manifest(),
        digest_of(8): manifest(subject=99),  # of what is not here
        digest_of(9): manifest(1),  # lists what is needed, and is not needed for that
    }
    assert unneeded(manifests, {digest_of(1), digest_of(50)}) == {digest_of(8), digest_of(9)}
    assert unneeded(manifests, set()) == set(manifests)
    assert unneeded({digest_of(1): manifest(1, subject=1)}, set()) == {digest_of(1)}


def test_what_goes_goes_behind_what_lists_it_and_behind_its_subject() -> None:
    manifests = {
        digest_of(1): manifest(2),
        digest_of(2): manifest(),
        digest_of(3): manifest(subject=2),
        digest_of(4): manifest(4, subject=3),
    }
    assert in_order(manifests.keys(), manifests) == [digest_of(number) for number in (1, 2, 3, 4)]
