"""Trees with things in them that no registry wrote: none of it stops the server, or what else lies there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.contents import Manifest, artifact, digest_of, image
from tests.api.server import Server
from tests.api.tree import Tree

NAME = "team/app"
ODD_MANIFESTS = {
    "a key twice": b'{"schemaVersion":2,"config":{},"config":{},"layers":[]}',
    "two kinds at once": b'{"schemaVersion":2,"manifests":[],"layers":[]}',
    "a negative size": b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","size":-1,"digest":"sha256:0"}]}',
    "not JSON": b"once upon a time",
    "a list": b"[]",
    "nothing": b"",
    "not UTF-8": b'{"schemaVersion":2,"annotations":{"a":"\xff"}}',
    "deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    "schema 1": b'{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[]}',
    "another type": b'{"schemaVersion":2,"mediaType":"text/html"}',
}


@pytest.fixture
def serve(scratch: Path) -> Iterator[Callable[[Tree], Server]]:
    """Starts Moorage on a tree, until the test ends."""
    started: list[Server] = []

    def start(tree: Tree) -> Server:
        started.append(Server(tree.root, scratch))
        while started[-1].registry.ask("GET", "/v2/_catalog").get("Warning"):
            pass
        return started[-1]

    yield start
    for server in started:
        assert '"level":"error"' not in server.log
        server.stop()


@pytest.fixture
def tree(scratch: Path) -> Tree:
    """A tree of Distribution's with one sound image in it, and room for oddities."""
    tree = Tree(scratch / "root")
    tree.manifest(NAME, SOUND, "sound")
    return tree


SOUND = image()


def layer_link(tree: Tree, name: str, digest: str) -> Path:
    """Where it is written that a repository has a blob."""
    return tree.revision_link(name, digest).parents[4] / "_layers" / digest.replace(":", "/") / "link"


def check_sound(server: Server, made: Manifest = SOUND) -> None:
    """What is sound is served, can be pushed again and referred to."""
    repository = server.repository(NAME)
    assert repository.get("sound").body == made.data
    for blob in made.blobs:
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    assert "sound" in repository.tags()
    assert NAME in server.registry.ask("GET", "/v2/_catalog").json()["repositories"]
    signature = repository.push(artifact("application/vnd.example", made.descriptor()))
    assert signature.digest in repository.referrers(made.digest)
    repository.push(made, "sound")


def check_commands(server: Server) -> None:
    """No command stumbles over the oddities, whatever it says of them."""
    for words in (
        ("storage", "reindex"),
        ("storage", "check", "--hash-blobs"),
        ("repo", "list"),
        ("tag", "list", NAME),
    ):
        result = server.command(*words, "--json", code=None)
        assert result.code in (0, 4), result
        assert "Traceback" not in result.err
        json.loads(result.out)


def test_strange_files_everywhere(tree: Tree, serve: Callable[[Tree], Server]) -> None:
    base = tree.root / "docker/registry/v2"
    repository = base / "repositories" / NAME
    folders = [
        tree.root,
        base,
        base / "blobs",
        base / "blobs/sha256",
        base / "repositories",
        base / "repositories/team",
        repository,
        repository / "_layers",
        repository / "_layers/sha256",
        repository / "_manifests",
        repository / "_manifests/revisions",
        repository / "_manifests/revisions/sha256",
        repository / "_manifests/tags",
        repository / "_manifests/tags/sound",
        repository / "_manifests/tags/sound/current",
        tree.root / "_moorage/v1",
        tree.root / "_moorage/v1/catalog",
        tree.root / "_moorage/v1/uploads",
        tree.root / "_moorage/v1/intents",
    ]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (".DS_Store", "with space", "new\nline", "-x", "UPPER", "~", "~" * 255, ".tmp-stray"):
            (folder / name).write_bytes(b"stray")
        Path(os.fsdecode(bytes(folder) + b"/\xff\xfe")).write_bytes(b"stray")
        (folder / "Odd Folder" / "deep" / "er").mkdir(parents=True)
        (folder / "Odd Folder" / "link").write_bytes(b"stray")
        (folder / "lost+found").mkdir()
        (folder / "empty").mkdir()
        (folder / "dangling").symlink_to("nowhere")
        (folder / "circle").symlink_to("circle")
    server = serve(tree)
    check_sound(server)
    check_commands(server)
    check_sound(server)
    assert server.registry.ask("GET", "/v2/_catalog").json()["repositories"] == [NAME]


LINKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda link: link.write_bytes(b""),
    "a newline": lambda link: link.write_text(f"{SOUND.digest}\n"),
    "nonsense": lambda link: link.write_bytes(b"\xff\x00" * 20),
    "an unknown algorithm": lambda link: link.write_bytes(b"md5:d41d8cd98f00b204e9800998ecf8427e"),
    "very long": lambda link: link.write_bytes(b"sha256:" + b"0" * 1_000_000),
    "dangling": lambda link: link.symlink_to("nowhere"),
    "a folder": lambda link: link.mkdir(),
    "a pipe": os.mkfifo,
    "nothing there": lambda link: link.write_text(digest_of(b"nothing")),
}


def test_links_that_are_none(tree: Tree, serve: Callable[[Tree], Server]) -> None:
    """Each in a repository of its own: an error that says so, until a push puts it right."""
    odd, extra = image(), os.urandom(20)
    names = {f"odd/{oddity.replace(' ', '-')}": make for oddity, make in LINKS.items()}
    for name, make in names.items():
        tree.manifest(name, odd, "odd")
        for link in (
            tree.tag_link(name, "odd"),
            layer_link(tree, name, tree.blob(name, extra)),
            tree.revision_link(name, odd.digest),
        ):
            link.unlink()
            make(link)
    server = serve(tree)
    check_sound(server)
    for name in names:
        repository = server.repository(name)
        for what in ("manifests/odd", f"manifests/{odd.digest}", f"blobs/{digest_of(extra)}"):
            for method in ("GET", "HEAD", "DELETE"):
                answer = repository.ask(method, what)
                deleted = (method, answer.status) == ("DELETE", 202)
                assert deleted or answer.status in (404, 405, 500), (name, method, what, answer)
                assert deleted or method == "HEAD" or answer.codes
    check_commands(server)
    for name in names:
        repository = server.repository(name)
        repository.push(odd, "odd")
        repository.push_blob(extra)
        assert repository.get("odd").body == odd.data
        assert repository.ask("GET", f"blobs/{digest_of(extra)}").body == extra
        assert repository.tags() == ["odd"]
    check_sound(server)


def test_manifests_that_readers_could_disagree_on(tree: Tree, serve: Callable[[Tree], Server]) -> None:
    """Served to the byte and reported, and no blob of their repository goes as long as they are there."""
    names = {f"odd/{oddity.replace(' ', '-').lower()}": content for oddity, content in ODD_MANIFESTS.items()}
    extra = os.urandom(20)
    digests = {name: tree.manifest(name, Manifest(content, ""), "odd") for name, content in names.items()}
    for name in names:
        tree.blob(name, extra)
    server = serve(tree)
    check_sound(server)
    for name, content in names.items():
        repository = server.repository(name)
        for reference in ("odd", digests[name]):
            answer = repository.get(reference)
            assert (answer.status, answer.body) == (200, content), name
            assert answer["Docker-Content-Digest"] == digests[name]
            assert answer["Content-Type"].startswith("application/")
        assert repository.ask("DELETE", f"blobs/{digest_of(extra)}").refuses(405, "UNSUPPORTED")
        assert repository.ask("HEAD", f"blobs/{digest_of(extra)}").status == 200
    result = server.command("storage", "check", "--json", code=None)
    problems = {problem["repository"]: problem for problem in json.loads(result.out)["problems"]}
    assert {name: problem["content"] for name, problem in problems.items()} == digests
    assert not any(problem["damaged"] for problem in problems.values())
    assert result.code == 0
    for name, digest in digests.items():
        repository = server.repository(name)
        assert repository.ask("DELETE", f"manifests/{digest}").status == 202
        assert repository.ask("DELETE", f"blobs/{digest_of(extra)}").status == 202
    check_sound(server)


def test_what_a_tag_left_behind_is_no_tag(tree: Tree, serve: Callable[[Tree], Server]) -> None:
    """Distribution's own index of a tag whose current link has gone."""
    link = tree.tag_link(NAME, "left")
    link.parents[1].joinpath("index/sha256", SOUND.digest.removeprefix("sha256:")).mkdir(parents=True)
    link.parents[1].joinpath("index", SOUND.digest.replace(":", "/"), "link").write_text(SOUND.digest)
    server = serve(tree)
    repository = server.repository(NAME)
    assert repository.get("left").refuses(404, "MANIFEST_UNKNOWN")
    assert repository.ask("DELETE", "manifests/left").refuses(404, "MANIFEST_UNKNOWN")
    check_sound(server)
    repository.push(SOUND, "left")
    assert repository.ask("DELETE", "manifests/left").status == 202
    assert repository.tags() == ["sound"]
    assert not link.parents[1].exists()
