"""Tags that not everybody may move or delete, in every order of storage calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.core.tagging import Tagging, Tags
from registry.errors import Denied, ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import Tag
from registry.model.tag_rights import EVERY_TAG, TagRights
from tests.core.explored import NAME, TAG, May, World, image, outcome
from tests.interleaving import Actor, explore, run

pytestmark = pytest.mark.exhaustive

CREATE, OVERWRITE = May({"create"}), May({"overwrite"})
ONE, TWO, OLD = image("one"), image("two"), image("old")
A, B, C = Tag("a"), Tag("c"), Tag("b")
Built = tuple[list[Actor], Callable[[], None]]


def push(made: World, content: bytes, rights: TagRights, *tags: Tag) -> Actor:
    return made.acting(rights).push_manifest(Digest.of(content), content, OCI_IMAGE, tags or (TAG,))


def refused(answer: object, right: str, tag: Tag = TAG) -> bool:
    return isinstance(answer, Denied) and answer.message == f"no rule lets you {right} {tag}"


def names(answer: object) -> bool:
    """Whether a push was acknowledged."""
    return not isinstance(answer, RegistryError)


def test_of_two_that_create_a_tag_exactly_one_wins() -> None:
    def world() -> Built:
        made = World()
        one: list[object] = []
        two: list[object] = []

        def verify() -> None:
            won, lost, content = (one, two, ONE) if names(one[0]) else (two, one, TWO)
            assert names(won[0])
            assert refused(lost[0], "overwrite")
            assert made.tagged() == Digest.of(content)
            assert made.pullable(TAG)
            (key,) = run(made.plain.store.history.keys(NAME, TAG))
            move = run(made.plain.store.history.read(key))
            assert move is not None and move.digest == Digest.of(content)

        return [
            outcome(push(made, ONE, CREATE), one),
            outcome(push(made, TWO, CREATE), two),
        ], verify

    assert explore(world, preemptions=2) > 100


def test_two_that_create_a_tag_of_the_same_content_both_win() -> None:
    def world() -> Built:
        made = World()
        results: list[object] = []

        def verify() -> None:
            assert all(names(answer) for answer in results)
            assert made.tagged() == Digest.of(ONE)
            assert made.pullable(TAG)

        return [outcome(push(made, ONE, CREATE), results), outcome(push(made, ONE, CREATE), results)], verify

    assert explore(world, preemptions=2) > 100


@pytest.mark.parametrize("there", [None, ONE], ids=["nothing", "same"])
def test_a_tag_that_is_created_and_overwritten_at_once_ends_overwritten(there: bytes | None) -> None:
    def world() -> Built:
        made = World()
        if there is not None:
            made.push(there)
        created: list[object] = []
        moved: list[object] = []

        def verify() -> None:
            assert names(moved[0])
            assert names(created[0]) or refused(created[0], "overwrite")
            assert made.tagged() == Digest.of(TWO)
            assert made.pullable(TAG)

        return [
            outcome(push(made, ONE, CREATE), created),
            outcome(push(made, TWO, EVERY_TAG), moved),
        ], verify

    assert explore(world, preemptions=2) > 100


@pytest.mark.parametrize("there", [OLD, ONE], ids=["other", "same"])
@pytest.mark.parametrize("rights", [CREATE, OVERWRITE], ids=["create", "overwrite"])
def test_a_push_beside_the_delete_of_its_tag_leaves_it_whole_or_gone(there: bytes, rights: May) -> None:
    def world() -> Built:
        made = World()
        made.push(there)
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            assert not isinstance(deleted[0], RegistryError)
            if names(pushed[0]):
                assert made.tagged() in (Digest.of(ONE), None)
                assert made.pullable(Digest.of(ONE))
            else:
                assert refused(pushed[0], "overwrite" if rights is CREATE else "create")
                assert made.tagged() is None

        return [
            outcome(push(made, ONE, rights), pushed),
            outcome(made.actor.delete_tag(TAG), deleted),
        ], verify

    assert explore(world, preemptions=2) > 50


@pytest.mark.parametrize("rights", [CREATE, OVERWRITE, EVERY_TAG], ids=["create", "overwrite", "all"])
def test_a_push_that_is_acknowledged_keeps_its_tag_beside_the_delete_of_what_that_named(
    rights: TagRights,
) -> None:
    def world() -> Built:
        made = World()
        old = made.push(OLD)
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            assert not isinstance(deleted[0], RegistryError)
            assert not made.pullable(old)
            if names(pushed[0]):
                assert made.tagged() == Digest.of(ONE)
                assert made.pullable(TAG)
            else:
                assert refused(pushed[0], "overwrite" if rights is CREATE else "create")
                assert made.tagged() is None

        return [
            outcome(push(made, ONE, rights), pushed),
            outcome(made.actor.delete_manifest(old), deleted),
        ], verify

    assert explore(world, preemptions=2) > 100


def test_creating_again_what_is_deleted_by_its_digest_leaves_no_tag_that_names_nothing() -> None:
    def world() -> Built:
        made = World()
        digest = made.push(ONE)
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            assert names(pushed[0])
            assert made.tagged() is None or made.pullable(TAG)

        return [
            outcome(push(made, ONE, CREATE), pushed),
            outcome(made.actor.delete_manifest(digest), deleted),
        ], verify

    assert explore(world, preemptions=2) > 100


def test_of_two_that_create_the_same_tags_one_has_them_all() -> None:
    def world() -> Built:
        made = World()
        one: list[object] = []
        two: list[object] = []

        def verify() -> None:
            won, lost, content = (one, two, ONE) if names(one[0]) else (two, one, TWO)
            assert names(won[0])
            assert isinstance(lost[0], Denied)
            for tag in (A, B):
                assert made.tagged(tag) == Digest.of(content)
                assert made.pullable(tag)
                assert len(run(made.plain.store.history.keys(NAME, tag))) == 1

        return [
            outcome(push(made, ONE, CREATE, A, B), one),
            outcome(push(made, TWO, CREATE, B, A), two),
        ], verify

    assert explore(world, preemptions=1) > 50


def test_of_two_that_were_allowed_to_create_the_same_tags_one_has_them_all() -> None:
    def world() -> Built:
        made = World()
        one: list[object] = []
        two: list[object] = []

        def verify() -> None:
            won, lost, content = (one, two, ONE) if names(one[0]) else (two, one, TWO)
            assert names(won[0])
            assert refused(lost[0], "overwrite", A)
            assert made.tagged(A) == made.tagged(B) == Digest.of(content)

        return [outcome(allowed(made, ONE, A, B), one), outcome(allowed(made, TWO, B, A), two)], verify

    assert explore(world, preemptions=3) > 100


def test_a_push_of_several_tags_creates_all_or_none() -> None:
    def world() -> Built:
        made = World()
        # It named this once: that is nobody's claim any more.
        made.push(ONE, tag=A)
        run(made.repository.delete_tag(A))
        before = run(made.plain.store.history.keys(NAME, A))
        one: list[object] = []
        two: list[object] = []

        def verify() -> None:
            if names(one[0]):
                assert refused(two[0], "overwrite", B)
                assert made.tagged(A) == made.tagged(B) == Digest.of(ONE)
            else:
                assert refused(one[0], "overwrite", B)
                assert names(two[0])
                assert (made.tagged(A), made.tagged(B)) == (None, Digest.of(TWO))
                assert run(made.plain.store.history.keys(NAME, A)) == before

        return [
            outcome(push(made, ONE, CREATE, A, B), one),
            outcome(push(made, TWO, CREATE, B), two),
        ], verify

    assert explore(world, preemptions=2) > 100


def allowed(made: World, content: bytes, *tags: Tag) -> Actor:
    """What remains of a push that was allowed to create tags, as nothing was there then."""
    empty = World().plain
    digest = run(made.repository.push_manifest(Digest.of(content), content, OCI_IMAGE, [])).digest
    looked = run(Tagging(empty.store, empty.door).allow(NAME, digest, tags, CREATE))
    return Tagging(made.paused.store, made.paused.door).set(NAME, digest, looked, "tester")


def too_late(made: World, *tags: Tag) -> Actor:
    """What remains of a push that was allowed to create tags of which somebody has got the last since."""
    made.push(image("of somebody"), tag=tags[-1])
    return allowed(made, ONE, *tags)


def test_restoring_a_tag_beside_one_who_creates_it() -> None:
    def world() -> Built:
        made = World()
        run(allowed(made, ONE, TAG))
        run(made.repository.delete_tag(TAG))
        tagging = Tagging(made.paused.store, made.paused.door)
        tags = Tags({TAG: Denied()}, {})
        results: list[object] = []

        def verify() -> None:
            created = results[1] if results[0] is None else results[0]
            assert names(created) or refused(created, "overwrite")
            assert made.tagged() == Digest.of(TWO if names(created) else ONE)

        return [
            outcome(tagging.restore(NAME, Digest.of(ONE), tags), results),
            outcome(push(made, TWO, CREATE), results),
        ], verify

    assert explore(world, preemptions=2) > 10


BESIDE: dict[str, tuple[Callable[[World], Actor], Callable[[World, object], bool]]] = {
    "the same, created": (
        lambda made: push(made, ONE, CREATE, A),
        lambda made, answer: names(answer) and made.tagged(A) == Digest.of(ONE),
    ),
    "the same, by who may overwrite": (
        lambda made: push(made, ONE, EVERY_TAG, A),
        lambda made, answer: names(answer) and made.tagged(A) == Digest.of(ONE),
    ),
    "the same and more": (
        lambda made: push(made, ONE, CREATE, A, C),
        lambda made, answer: names(answer) and made.tagged(A) == made.tagged(C) == Digest.of(ONE),
    ),
    "another, created": (
        lambda made: push(made, TWO, CREATE, A),
        # It may have met the tag in the moment in which it stood.
        lambda made, answer: made.tagged(A) == (Digest.of(TWO) if names(answer) else None),
    ),
    "another, by who may overwrite": (
        lambda made: push(made, TWO, EVERY_TAG, A),
        lambda made, answer: names(answer) and made.tagged(A) == Digest.of(TWO),
    ),
    "another that is too late": (
        lambda made: too_late(made, A, C, B),
        lambda made, answer: refused(answer, "overwrite", B) and made.tagged(A) is made.tagged(C) is None,
    ),
    "a delete of the tag": (
        lambda made: made.actor.delete_tag(A),
        lambda made, answer: made.tagged(A) is None,
    ),
    "a delete of the manifest": (
        lambda made: made.actor.delete_manifest(Digest.of(ONE)),
        lambda made, answer: not isinstance(answer, RegistryError) and made.tagged(A) is None,
    ),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_what_a_refused_push_has_created_goes_and_what_others_made_of_it_stays(beside: str) -> None:
    act, is_right = BESIDE[beside]

    def world() -> Built:
        made = World()
        late: list[object] = []
        results: list[object] = []

        def verify() -> None:
            assert refused(late[0], "overwrite", B) or refused(late[0], "overwrite", A)
            assert is_right(made, results[0]), (results, made.tagged(A))
            assert made.tagged(A) is None or made.pullable(A)

        return [outcome(too_late(made, A, B), late), outcome(act(made), results)], verify

    assert explore(world, preemptions=2) > 100


def test_what_three_make_of_a_tag_that_is_taken_back() -> None:
    def world() -> Built:
        made = World()
        late: list[object] = []
        same: list[object] = []
        moved: list[object] = []

        def verify() -> None:
            assert refused(late[0], "overwrite", B) or refused(late[0], "overwrite", A)
            assert names(same[0]) or refused(same[0], "overwrite", A)
            assert names(moved[0])
            assert made.tagged(A) == Digest.of(TWO)
            assert made.pullable(A)

        return [
            outcome(too_late(made, A, B), late),
            outcome(push(made, ONE, CREATE, A), same),
            outcome(push(made, TWO, EVERY_TAG, A), moved),
        ], verify

    assert explore(world, preemptions=1) > 100


KEPT = Tag("kept")
ALL_BUT_KEPT = May(("create", "overwrite", "delete"), but=(KEPT,))


@pytest.mark.parametrize("rights", [CREATE, EVERY_TAG], ids=["create", "all"])
def test_a_tag_that_may_not_be_deleted_is_pulled_though_a_delete_did_not_see_it(rights: TagRights) -> None:
    def world() -> Built:
        made = World()
        digest = made.push(ONE)
        pushed: list[object] = []
        deleted: list[object] = []

        def verify() -> None:
            assert names(pushed[0])
            assert made.tagged(KEPT) == digest
            assert made.pullable(KEPT)
            if isinstance(deleted[0], RegistryError):
                assert refused(deleted[0], "delete", KEPT)
                assert made.tagged() == digest
            else:
                assert deleted[0] == [TAG]
                assert made.tagged() is None

        return [
            outcome(push(made, ONE, rights, KEPT), pushed),
            outcome(made.acting(ALL_BUT_KEPT).delete_manifest(digest), deleted),
        ], verify

    assert explore(world, preemptions=2) > 100


def test_one_who_may_not_delete_a_tag_and_one_who_may_leave_it_whole_or_gone() -> None:
    def world() -> Built:
        made = World()
        digest = made.push(ONE)
        pushed: list[object] = []
        some: list[object] = []
        all_: list[object] = []

        def verify() -> None:
            assert names(pushed[0])
            assert made.tagged(KEPT) is None or made.pullable(KEPT)
            for answer in (some[0], all_[0]):
                assert not isinstance(answer, RegistryError) or (
                    isinstance(answer, ManifestUnknown) or refused(answer, "delete", KEPT)
                )

        return [
            outcome(push(made, ONE, EVERY_TAG, KEPT), pushed),
            outcome(made.acting(ALL_BUT_KEPT).delete_manifest(digest), some),
            outcome(made.actor.delete_manifest(digest), all_),
        ], verify

    assert explore(world, preemptions=1) > 100


def test_a_link_that_came_back_for_a_tag_goes_with_that_tag() -> None:
    def world() -> Built:
        made = World()
        digest = made.push(ONE)
        made.push(ONE, tag=KEPT)
        door = made.paused.door
        some: list[object] = []
        all_: list[object] = []

        def verify() -> None:
            assert not isinstance(some[0], RegistryError)
            if isinstance(all_[0], RegistryError):
                # It found no manifest, in the moment in which the link was away.
                assert made.pullable(KEPT)
            else:
                assert made.tagged(KEPT) is None
                assert not made.pullable(digest)

        # One that has not seen the tag which it may not take.
        take = door._take_manifest(NAME, digest, [TAG], "u-run", "tester", ALL_BUT_KEPT)
        return [outcome(made.actor.delete_manifest(digest), all_), outcome(take, some)], verify

    assert explore(world, preemptions=2) > 100
