from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import NameInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout, parsing

SEGMENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
HEX = "0123456789abcdef" * 4


@st.composite
def names(draw: st.DrawFn) -> RepositoryName:
    """Repository names, with every separator and every digit that escaping touches."""
    piece = st.text("abz019", min_size=1, max_size=3)
    parts = draw(st.lists(piece, min_size=1, max_size=8))
    text = parts[0]
    for part in parts[1:]:
        text += draw(st.sampled_from(["/", "-", "--", ".", "_", "__"])) + part
    return RepositoryName(text)


tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True).map(Tag)
digests = st.builds(Digest.of, st.binary(max_size=8), st.sampled_from(["sha256", "sha512"]))


@given(names())
def test_a_catalog_key_gives_the_name_back_and_is_as_long(name: RepositoryName) -> None:
    key = layout.catalog_entry(name)
    assert parsing.catalog_name(key) == name
    assert len(key) == len(f"{layout.CATALOG}/{name}")
    assert "/" not in key.removeprefix(f"{layout.CATALOG}/")


@given(names(), names())
def test_catalog_keys_lie_in_the_order_of_the_names(one: RepositoryName, two: RepositoryName) -> None:
    in_order = layout.catalog_entry(one) < layout.catalog_entry(two)
    assert in_order == (one < two)


@given(names(), st.one_of(names(), st.text(max_size=12)))
def test_no_name_behind_the_last_one_is_skipped(name: RepositoryName, last: str) -> None:
    if name > last:
        assert layout.catalog_entry(name) > layout.catalog_after(last)


@given(names())
def test_the_name_asked_for_last_does_not_come_again(name: RepositoryName) -> None:
    assert layout.catalog_after(name) == layout.catalog_entry(name)


@pytest.mark.parametrize("stray", ["", "A", "0a", "a0", "A0J", ".tmp-x", "Z", "aKb", "x" * 300])
def test_stray_objects_of_the_catalog_are_no_names(stray: str) -> None:
    found = parsing.catalog_name(f"{layout.CATALOG}/{stray}")
    assert found is None or layout.catalog_entry(found) == f"{layout.CATALOG}/{stray}"
    if stray in ("", "0a", "a0", ".tmp-x", "Z", "x" * 300):
        assert found is None


@given(names(), tags, digests, digests)
def test_every_key_is_one_that_drivers_take(
    name: RepositoryName, tag: Tag, digest: Digest, other: Digest
) -> None:
    for key in keys_of(name, tag, digest, other):
        segments = key.split("/")
        assert all(SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments), key
        assert all(len(segment) <= 255 and not segment.startswith(".tmp-") for segment in segments), key


@given(names(), names(), tags, digests, digests)
def test_no_key_is_a_directory_of_another(
    one: RepositoryName, two: RepositoryName, tag: Tag, digest: Digest, other: Digest
) -> None:
    found = {*keys_of(one, tag, digest, other), *keys_of(two, tag, digest, other)}
    for key in found:
        above = key
        while "/" in above:
            above = above.rpartition("/")[0]
            assert above not in found


@given(names(), digests, digests)
def test_a_referrer_key_gives_its_digest_back(name: RepositoryName, subject: Digest, digest: Digest) -> None:
    key = layout.referrer(name, subject, digest)
    assert key.startswith(layout.subject(name, subject) + "/")
    assert key.startswith(layout.referrers(name) + "/")
    assert parsing.referrer_digest(key) == parsing.referrer_digest(key.rpartition("/")[2]) == digest


@pytest.mark.parametrize("stray", ["x", "sha256-", f"sha256-{HEX.upper()}", f"sha256{HEX}", ""])
def test_stray_objects_among_referrers_are_no_digests(stray: str) -> None:
    assert parsing.referrer_digest(stray) is None


def test_subjects_of_unknown_algorithms_have_keys_of_their_own() -> None:
    name = RepositoryName("a")
    odd = [Digest.parse(text) for text in ("blake3:" + HEX, "md5+x:a=b", "md5.x:a=b")]
    found = {layout.subject(name, digest) for digest in odd}
    assert len(found) == 3
    assert all(SEGMENT.fullmatch(segment) for key in found for segment in key.split("/"))


def test_distributions_own_tree() -> None:
    name, tag, digest = RepositoryName("team/app"), Tag("v1"), Digest("sha256", HEX)
    tree = "docker/registry/v2"
    repository = f"{tree}/repositories/team/app"
    assert layout.blob_data(digest) == f"{tree}/blobs/sha256/01/{HEX}/data"
    assert layout.layer_link(name, digest) == f"{repository}/_layers/sha256/{HEX}/link"
    assert layout.revision_link(name, digest) == f"{repository}/_manifests/revisions/sha256/{HEX}/link"
    assert layout.tag_link(name, tag) == f"{repository}/_manifests/tags/v1/current/link"
    assert layout.tag_index(name, tag) == f"{repository}/_manifests/tags/v1/index"


def test_upload_chunks_lie_in_the_order_of_their_offsets() -> None:
    offsets = [0, 9, 10, 10**9, 10**15]
    keys = [layout.upload_chunk("u", offset) for offset in offsets]
    assert keys == sorted(keys)


def test_a_name_of_255_characters_has_a_catalog_key() -> None:
    name = RepositoryName("/".join(["a"] * 128))
    assert len(name) == 255
    assert len(layout.catalog_entry(name).rpartition("/")[2]) == 255
    with pytest.raises(NameInvalid):
        RepositoryName(name + "a")


def keys_of(name: RepositoryName, tag: Tag, digest: Digest, other: Digest) -> list[str]:
    """One key of every kind that names make."""
    return [
        layout.blob_data(digest),
        layout.layer_link(name, digest),
        layout.layers_placeholder(name),
        layout.revision_link(name, digest),
        layout.tag_link(name, tag),
        layout.whole_manifest(name, digest),
        layout.catalog_entry(name),
        layout.referrer(name, digest, other),
        f"{layout.history(name, tag)}/00000000000000000000-uuid",
        f"{layout.trash_data(digest)}/run",
        f"{layout.trash_layer(name, digest)}/run",
        f"{layout.trash_revision(name, digest)}/run",
        f"{layout.trash_whole_manifest(name, digest)}/run",
        f"{layout.trash_tag(name, tag)}/run",
        layout.quarantine(digest, "uuid"),
    ]


@given(names(), tags, digests)
def test_a_link_says_whose_it_is_and_of_what(name: RepositoryName, tag: Tag, digest: Digest) -> None:
    layer, revision = layout.layer_link(name, digest), layout.revision_link(name, digest)
    whole, tagged = layout.whole_manifest(name, digest), layout.tag_link(name, tag)
    placeholder, session = layout.layers_placeholder(name), f"{layout.repository(name)}/_uploads/u/data"
    keys = [layer, revision, whole, tagged, placeholder, session]
    assert {parsing.in_repository(key)[0] for key in keys} == {name}
    assert [parsing.layer_of(key) for key in keys] == [digest, *[None] * 5]
    assert [parsing.manifest_of(key) for key in keys] == [None, digest, digest, *[None] * 3]
    assert [parsing.tag_of(key) for key in keys] == [*[None] * 3, tag, *[None] * 2]
    assert [parsing.is_link(key) for key in keys] == [True, True, False, True, False, False]
    assert [parsing.is_session_of_distribution(key) for key in keys] == [*[False] * 5, True]
    kinds = [parsing.linked_at(parsing.in_repository(key)[1])[0] for key in keys if key != whole]
    assert kinds == ["layer", "revision", "other", "other", "other"]


@pytest.mark.parametrize(
    "place",
    [
        *("_layers/sha256/notes.txt", "_layers/sha256/x/link", "_layers/sha256/../link", "_backup/one", ""),
        *(f"_layers/blake3/{HEX}/link", f"_layers/sha256/{HEX}/link/x", f"_layers/sha256/{HEX}"),
        *(f"_signatures/_layers/sha256/{HEX}/link", f"_manifests/revisions/sha256/{HEX}/signatures/link"),
    ],
)
def test_what_does_not_belong_there_is_stray(place: str) -> None:
    key = f"{layout.REPOSITORIES}/a/{place}"
    assert parsing.linked_at(place) == ("stray", None)
    assert parsing.layer_of(key) is parsing.manifest_of(key) is None


@pytest.mark.parametrize("digest", [Digest.of(b"content"), Digest.of(b"content", "sha512")])
def test_what_holds_content_is_known_by_its_key(digest: Digest) -> None:
    # Names that look like what they are not.
    for name in (RepositoryName("a"), RepositoryName(f"blobs/{digest.algorithm}/{digest.encoded}")):
        other, run = Digest.of(b"other"), "u-1"
        holding = [
            layout.blob_data(digest),
            layout.layer_link(name, digest),
            layout.revision_link(name, digest),
            layout.whole_manifest(name, digest),
            layout.referrer(name, other, digest),
            layout.quarantine(digest, "uuid"),
            f"{layout.transfer(name, digest)}/1-2-3-4-uuid",
            f"{layout.trash_data(digest)}/{run}",
            f"{layout.trash_layer(name, digest)}/{run}",
            f"{layout.trash_revision(name, digest)}/{run}",
            f"{layout.trash_whole_manifest(name, digest)}/{run}",
        ]
        assert [parsing.content_of(key) for key in holding] == [digest] * len(holding)
        others = [
            layout.layer_link(name, other),
            layout.referrer(name, digest, other),
            layout.tag_link(name, Tag("latest")),
            layout.layers_placeholder(name),
            layout.catalog_entry(name),
            f"{layout.history(name, Tag('latest'))}/1-1",
            f"{layout.trash_tag(name, Tag('latest'))}/{run}",
            layout.blocked(digest),
            layout.upload_data("uuid", "random"),
        ]
        assert digest not in [parsing.content_of(key) for key in others]
    assert parsing.blocked_of(layout.blocked(digest)) == digest
