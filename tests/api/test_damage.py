"""Files that changed behind our back: nothing wrong is served, and the same push heals what it can."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.api.contents import digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.api.tree import Tree


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two processes on files that the tests spoil; the second has nothing in memory."""
    folder = tmp_path_factory.mktemp("damage")
    first, second = Server(folder / "data", folder), Server(folder / "data", folder)
    yield first, second
    first.stop()
    second.stop()


@pytest.fixture
def tree(servers: tuple[Server, Server]) -> Tree:
    return Tree(servers[0].root)


@pytest.fixture
def repository(servers: tuple[Server, Server]) -> Repository:
    return servers[0].repository(f"damaged/{os.urandom(6).hex()}")


@pytest.fixture
def unread(servers: tuple[Server, Server], repository: Repository) -> Repository:
    """The same repository at a process that has never read it."""
    return servers[1].repository(repository.name)


@pytest.mark.parametrize("size", [0, 1, 999])
@pytest.mark.parametrize("style", ["PUT", "PATCH", "single POST"])
def test_a_truncated_blob_is_healed_by_the_same_push(
    repository: Repository, tree: Tree, size: int, style: str
) -> None:
    layer = os.urandom(1000)
    made = repository.push(image([layer]), "latest")
    digest = digest_of(layer)
    tree.blob_file(digest).write_bytes(layer[:size])
    refused = repository.put(made, "again")
    assert refused.refuses(400, "MANIFEST_BLOB_UNKNOWN")
    assert digest in refused.json()["errors"][0]["detail"]["digest"]
    # It was set aside: clients ask first, and are told to send it.
    assert repository.ask("HEAD", f"blobs/{digest}").status == 404
    if style == "single POST":
        assert repository.ask("POST", f"blobs/uploads/?digest={digest}", body=layer).status == 201
    elif style == "PATCH":
        location = repository.begin()
        repository.registry.ask("PATCH", location, body=[layer])
        assert repository.close(location, digest).status == 201
    else:
        repository.push_blob(layer)
    assert repository.ask("GET", f"blobs/{digest}").body == layer
    assert repository.put(made, "again").status == 201


@pytest.mark.parametrize("style", ["PUT", "PATCH"])
def test_an_upload_replaces_what_lies_there_damaged(repository: Repository, tree: Tree, style: str) -> None:
    layer = os.urandom(1000)
    digest = repository.push_blob(layer)
    for damaged in (layer[:500], b"\0" * 1000, layer + b"more", b""):
        tree.blob_file(digest).write_bytes(damaged)
        location = repository.begin()
        if style == "PATCH":
            repository.registry.ask("PATCH", location, body=layer)
            assert repository.close(location, digest).status == 201
        else:
            assert repository.close(location, digest, layer).status == 201
        assert repository.ask("GET", f"blobs/{digest}").body == layer


def test_a_blob_longer_than_its_descriptor_says_is_set_aside(repository: Repository, tree: Tree) -> None:
    layer = os.urandom(1000)
    made = repository.push(image([layer]), "latest")
    tree.blob_file(digest_of(layer)).write_bytes(layer + b"!")
    assert repository.put(made, "again").refuses(400, "MANIFEST_BLOB_UNKNOWN")
    repository.push_blob(layer)
    assert repository.put(made, "again").status == 201


def test_a_blob_whose_file_is_gone(repository: Repository, tree: Tree) -> None:
    layer = os.urandom(1000)
    made = repository.push(image([layer]), "latest")
    tree.blob_file(digest_of(layer)).unlink()
    for method in ("GET", "HEAD"):
        assert repository.ask(method, f"blobs/{digest_of(layer)}").status == 404
    assert repository.put(made, "again").refuses(400, "MANIFEST_BLOB_UNKNOWN")
    repository.push_blob(layer)
    assert repository.put(made, "again").status == 201


@pytest.mark.parametrize("spoil", ["one bit", "truncated", "empty", "longer", "another manifest", "gone"])
def test_an_altered_manifest_is_never_served(
    repository: Repository, unread: Repository, tree: Tree, spoil: str
) -> None:
    made, another = repository.push(image(), "latest"), image()
    file = tree.blob_file(made.digest)
    match spoil:
        case "one bit":
            file.write_bytes(bytes([made.data[0] ^ 1]) + made.data[1:])
        case "truncated":
            file.write_bytes(made.data[:-1])
        case "empty":
            file.write_bytes(b"")
        case "longer":
            file.write_bytes(made.data + b"\n")
        case "another manifest":
            file.write_bytes(another.data)
        case _:
            file.unlink()
    # A process that never saw it whole cannot remember it.
    for where in (unread, repository):
        for reference in ("latest", made.digest):
            for method in ("GET", "HEAD"):
                answer = where.ask(method, f"manifests/{reference}")
                if answer.status == 200:
                    assert where is repository
                    assert method == "HEAD" or answer.body == made.data
                else:
                    # What is not there is pushed by clients that ask first.
                    assert answer.status == (500 if file.exists() else 404)
                    assert method == "HEAD" or file.exists() or answer.refuses(404, "MANIFEST_UNKNOWN")
    assert unread.tags() == ["latest"]
    assert unread.put(made, "latest").status == 201
    for where in (unread, repository):
        assert where.get("latest").body == made.data
    assert file.read_bytes() == made.data


@pytest.mark.parametrize(
    "text",
    ["", "\n", "sha256:", "not a digest", "sha256:" + "0" * 63, "sha256:" + "0" * 64, "../../x", "\xff"],
)
def test_a_spoilt_tag(repository: Repository, tree: Tree, text: str) -> None:
    made = repository.push(image(), "latest")
    repository.put(made, "other")
    tree.tag_link(repository.name, "latest").write_bytes(text.encode("latin-1"))
    answer = repository.get("latest")
    assert answer.status in (404, 500)
    assert answer.codes
    assert repository.get("other").body == made.data
    assert "latest" in repository.tags()
    assert repository.put(made, "latest").status == 201
    assert repository.get("latest").body == made.data


def test_a_tag_with_a_line_feed_is_read(repository: Repository, tree: Tree) -> None:
    """An editor or `echo` leaves one, and Distribution answers 500 to it."""
    made = repository.push(image(), "latest")
    tree.tag_link(repository.name, "latest").write_text(f"{made.digest}\n")
    answer = repository.get("latest")
    assert (answer.status, answer.body) in ((200, made.data), (500, answer.body))


@pytest.mark.parametrize("text", ["", "not a digest", "sha256:" + "0" * 64])
def test_a_spoilt_revision(repository: Repository, tree: Tree, text: str) -> None:
    made = repository.push(image(), "latest")
    tree.revision_link(repository.name, made.digest).write_text(text)
    answer = repository.get(made.digest)
    # This process may remember the bytes, which are right under their digest.
    assert answer.status in (404, 500) or answer.body == made.data
    assert repository.put(made, "latest").status == 201
    assert repository.get(made.digest).body == made.data


def test_strays_are_not_listed(repository: Repository, tree: Tree) -> None:
    made = repository.push(image(), "latest")
    tags = tree.tag_link(repository.name, "latest").parents[2]
    assert tags.name == "tags"
    (tags / ".tmpfile").write_bytes(b"stray")
    (tags / "not a tag!").mkdir()
    (tags.parent / "stray").write_bytes(b"")
    (tags.parents[1] / "Stray Directory").mkdir()
    assert repository.tags() == ["latest"]
    assert repository.get("latest").body == made.data
    listed = repository.registry.ask("GET", "/v2/_catalog").json()["repositories"]
    assert repository.name in listed
    assert not [name for name in listed if "Stray" in name]
