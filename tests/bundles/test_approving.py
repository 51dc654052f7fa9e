"""What is asked when a bundle is approved: what the rules deny, and what is configured by then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.access.policy import Policy
from registry.access.principals import OPERATOR, Bound, Principal
from registry.access.rules import read_rules
from registry.bundles.approving import Approving
from registry.bundles.decision_operations import Approve
from registry.bundles.decision_operations import operations as decision_operations
from registry.bundles.errors import BundleRefused
from registry.bundles.import_operations import Import
from registry.bundles.import_operations import operations as import_operations
from registry.bundles.keys import new_key, write_key
from registry.bundles.list_operations import state_of
from registry.errors import Denied
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.work.operations import Context
from tests.bundles.handmade import files_of, images, write_folder
from tests.bundles.sides import Gap, Side, done
from tests.inmemory import image

APP, V1, OLD = RepositoryName("team/app"), Tag("v1"), Tag("old")
BOB = Principal("user:bob")
RULES = "- {who: 'user:bob', repositories: ['**'], may: [pull, approve, admin]}\n"


@pytest.fixture
def gap(tmp_path: Path) -> Gap:
    """Two sides with nothing in them; one person must approve."""
    return Gap(tmp_path, {"approvals": 1})


def asks(folder: Path, rules: str, who: Principal = BOB) -> Context:
    """Somebody who asks where there are these rules."""
    (folder / "access.yaml").write_text(RULES + rules)
    policy = Policy(read_rules(folder / "access.yaml"))

    def refusal(right: Any, name: RepositoryName | None, tag: Tag | None) -> str | None:
        decision = policy.decide(who, right, name, tag)
        return None if decision.allowed else decision.reason

    def denial(right: Any, name: RepositoryName | None, tag: Tag | None) -> str | None:
        denied = policy.denial(who, right, name, tag)
        return None if denied is None else denied.reason

    return Context(str(who), refusal=refusal, denial=denial)


async def approve(gap: Gap, bundle: str, context: Context) -> None:
    """Approve a bundle, as the API does."""
    await done(decision_operations(lambda: gap.far.bundles), "bundle.approve", Approve(bundle), context)


async def waiting(gap: Gap) -> str:
    """A bundle that moves `v1`, brings `new` and removes `old`."""
    for tag in (V1, OLD):
        await gap.far.world.push(image("mine"), tag, APP)
    for tag in (V1, Tag("new")):
        await gap.near.world.push(image("one"), tag, APP)
    await gap.near.export(gap.folder / "bundle", gap.key)
    return (await gap.far.take_in(gap.folder / "bundle", delete=True)).head.id


# What rules deny.


@pytest.mark.parametrize(
    ("tag", "right"), [("v*", "overwrite"), ("new", "create"), ("old", "delete"), (None, "overwrite")]
)
async def test_a_deny_refuses_the_approval(gap: Gap, tmp_path: Path, tag: str | None, right: str) -> None:
    bundle, before = await waiting(gap), await gap.far.tags()
    tags = "" if tag is None else f"tags: ['{tag}'], "
    rule = f"- {{who: anonymous, repositories: ['team/**'], {tags}deny: [{right}]}}\n"
    touched = {"v*": "v1", None: "v1"}.get(tag, tag)
    with pytest.raises(Denied, match=rf"access rule 2 .*denies it: user:bob to {right} team/app:{touched};"):
        await approve(gap, bundle, asks(tmp_path, rule))
    received = gap.far.bundles.importing.received
    assert await received.people(bundle, "approvals") == [] and await received.open_ones() == []
    assert await gap.far.tags() == before and await state_of(gap.far.bundles, bundle) == "staged"
    await approve(gap, bundle, Context("user:carol"))
    assert await gap.far.tags() == await gap.near.tags()


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "- {who: 'user:bob', repositories: ['**'], may: [create]}\n",
        "- {who: anonymous, repositories: ['**'], tags: ['v1'], deny: [create, delete]}\n",
        "- {who: anonymous, repositories: ['**'], tags: ['old', 'new'], deny: [overwrite]}\n",
        "- {who: anonymous, repositories: ['other/**'], deny: [create, overwrite, delete]}\n",
        "- {who: 'user:carol', repositories: ['**'], deny: [create, overwrite, delete]}\n",
    ],
)
async def test_no_grant_is_needed_for_what_it_moves(gap: Gap, tmp_path: Path, rule: str) -> None:
    await approve(gap, await waiting(gap), asks(tmp_path, rule))
    assert await gap.far.tags() == await gap.near.tags()


async def test_a_tag_that_stays_as_it_is_may_be_denied(gap: Gap, tmp_path: Path) -> None:
    for side in (gap.near, gap.far):
        await side.world.push(image("one"), V1, APP)
    bundle = (await gap.carry()).head.id
    await approve(gap, bundle, asks(tmp_path, "- {who: anonymous, repositories: ['**'], deny: [push]}\n"))
    assert await state_of(gap.far.bundles, bundle) == "approved"


async def test_what_is_denied_to_a_keys_owner_is_denied_to_the_key(gap: Gap, tmp_path: Path) -> None:
    bundle = await waiting(gap)
    everywhere = (RepositoryPattern("**"),)
    key = Principal("key:bobs", bound=Bound(everywhere, frozenset({"approve"}), BOB))
    rule = "- {who: 'user:bob', repositories: ['**'], tags: ['v1'], deny: [overwrite]}\n"
    with pytest.raises(Denied, match="key:bobs to overwrite team/app:v1"):
        await approve(gap, bundle, asks(tmp_path, rule, key))
    await approve(gap, bundle, asks(tmp_path, rule, OPERATOR))


async def test_where_nobody_has_to_approve_it_binds_who_imports(tmp_path: Path) -> None:
    gap = Gap(tmp_path)
    await gap.far.world.push(image("mine"), V1, APP)
    before = await gap.far.tags()
    await gap.near.world.push(image("one"), V1, APP)
    await gap.near.export(tmp_path / "bundle", gap.key)
    asked, operations = Import((str(tmp_path / "bundle"),)), import_operations(lambda: gap.far.bundles)
    rule = "- {who: anonymous, repositories: ['**'], tags: ['v*'], deny: [overwrite]}\n"
    with pytest.raises(Denied, match="overwrite team/app:v1"):
        await done(operations, "bundle.import", asked, asks(tmp_path, rule))
    assert await gap.far.tags() == before
    await done(operations, "bundle.import", asked, Context("operator"))
    assert await gap.far.tags() == await gap.near.tags()


# What is configured by then.


def far_side(gap: Gap, **imports: Any) -> Side:
    """The far side when other things are configured there."""
    settings = gap.far.bundles.settings.model_dump(exclude_unset=True)
    return Side({"import": {**settings["import"], **imports}}, gap.far.world.driver)


def configured(gap: Gap, **imports: Any) -> Approving:
    """Who decides there."""
    return far_side(gap, **imports).bundles.approving


async def test_where_images_may_go_is_looked_at_again(gap: Gap) -> None:
    bundle = await waiting(gap)
    with pytest.raises(BundleRefused, match=f"team/app, where none may go any more.*reject {bundle}"):
        await configured(gap, repositories=["mirror/**"]).approve(bundle, "bob", "", allow_rollback=False)
    assert await gap.far.bundles.importing.received.people(bundle, "approvals") == []
    assert await configured(gap).approve(bundle, "bob", "", allow_rollback=False) == 0


@pytest.mark.parametrize(
    ("trusted", "required", "problem"),
    [
        ([], 1, "signed by 0 of the keys .* put back {both}, which signed it"),
        (["first"], 2, "signed by 1 of the keys .* put back {second}, which signed it"),
        (["first", "second"], 3, "signed by 2 of the keys .* have its images written as one that is signed"),
        (["second"], 1, None),
        ([], 0, None),
    ],
)
async def test_who_signed_is_looked_at_again(
    tmp_path: Path, trusted: list[str], required: int, problem: str | None
) -> None:
    gap, second = Gap(tmp_path, {"approvals": 1}), new_key("ed25519")
    files = {"first": gap.folder / f"{gap.key.public.id}.pub", "second": write_key(second, tmp_path)[1]}
    path = write_folder(files_of(images(), gap.key, second), tmp_path / "bundle")
    gap.far = far_side(gap, trusted_keys=[str(one) for one in files.values()])
    bundle = (await gap.far.take_in(path)).head.id
    keys = [str(files[one]) for one in trusted]
    approving = configured(gap, trusted_keys=keys, required_signatures=required)
    if problem is None:
        assert await approving.approve(bundle, "bob", "", allow_rollback=False) == 0
        return
    ids = sorted([gap.key.public.id, second.public.id])
    told = problem.format(second=second.public.id, both=", ".join(ids))
    with pytest.raises(BundleRefused, match=told):
        await approving.approve(bundle, "bob", "", allow_rollback=False)
    assert await gap.far.bundles.importing.received.open_ones() == []
    await gap.far.bundles.approving.reject(bundle, "bob", "")


async def test_a_journal_that_has_begun_is_finished_all_the_same(gap: Gap) -> None:
    bundle = await waiting(gap)
    await gap.far.bundles.approving.approve(bundle, "bob", "", allow_rollback=False)
    narrowed = configured(gap, repositories=["mirror/**"], trusted_keys=[])
    assert await narrowed.approve(bundle, "carol", "", allow_rollback=False) == 0
    async for _ in narrowed.finish(bundle, "tester"):
        pass
    assert (await gap.far.tags())["team/app:v1"] == (await gap.near.tags())["team/app:v1"]
