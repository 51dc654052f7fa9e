"""The audit trail of a real server: what is in it, and that it is whole whatever happens to its file."""

from __future__ import annotations

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Serve
from tests.api.contents import digest_of, image
from tests.api.people import add_user, rules_file
from tests.api.registry import Repository
from tests.api.server import Server, moorage

Line = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def lines(*paths: Path) -> list[Line]:
    """The lines of files."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def events(path: Path) -> list[tuple[str, str, str]]:
    """Event, tag and outcome of the lines, without those that begin and end."""
    return [
        (line["event"], line.get("tag", ""), line["outcome"])
        for line in lines(path)
        if not line["event"].startswith("audit.")
    ]


def whole(*paths: Path) -> Line:
    """The trail in these files, which is whole."""
    words = ["audit", "verify", "--json", *map(str, paths)]
    document: Line = json.loads(moorage(*words).out)
    assert document["sound"], document
    return document


def repository(server: Server, name: str = "team/app") -> Repository:
    """A repository of it."""
    return server.repository(name)


def test_pushes_say_who_where_what_and_which_rule(serve: Serve, path: Path, tmp_path: Path) -> None:
    rules = tmp_path / "access.yaml"
    rules.write_text(
        "- {who: anonymous, repositories: ['**'], may: [pull, create]}\n"
        "- {who: anonymous, repositories: ['**'], tags: [dev], may: [overwrite]}\n"
    )
    settings = {"access": {"rules_file": str(rules)}, "audit": {"file": str(path)}}
    there = repository(serve(settings=settings))
    one, two = image(), image()
    there.push(one, "dev")
    there.push(two, "dev")
    answer = there.put(one, "dev", headers={"Content-Type": one.media_type, "User-Agent": 'a "test"/1\t'})
    pushed, created, again, moved, third, back = [line for line in lines(path) if line["number"] > 1]
    assert (pushed["event"], pushed["tag"], pushed["digest"]) == ("manifest.pushed", "dev", one.digest)
    assert (created["event"], created["tag"], created["digest"]) == ("tag.created", "dev", one.digest)
    assert "replaced" not in created
    assert created["who"] == "anonymous"
    assert created["address"] == "127.0.0.1"
    assert created["repository"] == "team/app"
    assert created["rule"] == "access rule 1 (line 1) grants it"
    assert (again["event"], again["digest"]) == ("manifest.pushed", two.digest)
    assert (moved["event"], moved["replaced"], moved["digest"]) == ("tag.overwritten", one.digest, two.digest)
    assert moved["rule"] == "access rule 2 (line 2) grants it"
    assert third["request"] == back["request"] == answer["X-Request-ID"]
    assert back["agent"] == 'a "test"/1\t'


def test_the_same_push_again_is_no_overwrite(serve: Serve, path: Path) -> None:
    there = repository(serve(settings={"audit": {"file": str(path)}}))
    made = there.push(image(), "a")
    there.put(made, "a")
    assert events(path) == [
        ("manifest.pushed", "a", "done"),
        ("tag.created", "a", "done"),
        ("manifest.pushed", "a", "done"),
    ]


def test_each_tag_of_one_push_has_a_line(serve: Serve, path: Path) -> None:
    there = repository(serve(settings={"audit": {"file": str(path)}}))
    there.push(image(), "b")
    made = image()
    there.push(made)
    there.put(made, query="?tag=a&tag=b")
    assert events(path)[2:] == [
        ("manifest.pushed", "", "done"),
        ("manifest.pushed", "a", "done"),
        ("tag.created", "a", "done"),
        ("tag.overwritten", "b", "done"),
    ]
    assert lines(path)[-3]["detail"] == "tags: a, b"


def test_deletes_are_noted_and_kept(serve: Serve, path: Path) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    there = repository(server)
    made, other = there.push(image(), "a"), there.push(image(), "b")
    there.put(other, "c")
    there.push_blob(b"spare")
    before = len(lines(path))
    spare = there.push_blob(b"spare")
    answers = [
        there.ask("DELETE", "manifests/a"),
        there.ask("DELETE", f"manifests/{other.digest}"),
        there.ask("DELETE", f"blobs/{spare}"),
    ]
    assert [answer.status for answer in answers] == [202, 202, 202]
    told = [(line["event"], line.get("tag", ""), line["digest"]) for line in lines(path)[before:]]
    assert told == [
        ("tag.deleted", "a", made.digest),
        ("manifest.deleted", "", other.digest),
        ("tag.deleted", "b", other.digest),
        ("tag.deleted", "c", other.digest),
        ("blob.deleted", "", spare),
    ]
    server.kill()
    kept = json.loads(server.command("audit", "list", "--json").out)["entries"]
    assert [(entry["event"], entry["tag"], entry["digest"]) for entry in kept] == [
        ("tag.deleted", "a", made.digest),
        ("manifest.deleted", "", other.digest),
        ("blob.deleted", "", spare),
    ]
    assert [entry["outcome"] for entry in kept] == ["done"] * 3
    assert [entry["request"] for entry in kept] == [answer["X-Request-ID"] for answer in answers]
    assert kept[1]["detail"] == "tags: b, c"
    assert {entry["address"] for entry in kept} == {"127.0.0.1"}


def test_what_is_not_there_or_may_not_go_is_not_deleted_and_leaves_no_entry(serve: Serve, path: Path) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    there = repository(server)
    made = there.push(image([b"layer"]), "a")
    before = len(lines(path))
    assert there.ask("DELETE", "manifests/none").status == 404
    assert there.ask("DELETE", f"manifests/sha256:{'0' * 64}").status == 404
    assert there.ask("DELETE", f"blobs/{made.descriptor()['digest']}").status in (404, 405)
    assert len(lines(path)) == before
    assert json.loads(server.command("audit", "list", "--json").out)["entries"] == []


def test_where_deleting_is_off_nothing_is_written(serve: Serve) -> None:
    server = serve(settings={"delete": {"enabled": False}})
    there = repository(server)
    there.push(image(), "a")
    assert there.ask("DELETE", "manifests/a").refuses(405, "UNSUPPORTED")
    assert not (server.root / "_moorage/v1/audit").exists()


def test_a_delete_that_cannot_be_written_down_does_not_happen(serve: Serve) -> None:
    """Decision 8."""
    server = serve()
    there = repository(server)
    made = there.push(image(), "a")
    blocker = server.root / "_moorage/v1/audit"
    # Nothing can be put below what is a file.
    blocker.write_bytes(b"")
    for what in ("manifests/a", f"manifests/{made.digest}", f"blobs/{made.digest}"):
        assert there.ask("DELETE", what).status == 500
    assert there.get("a").status == there.get(made.digest).status == 200
    answer = server.command("tag", "delete", "team/app:a", "--yes", code=1)
    assert "audit" in answer.err
    assert there.get("a").status == 200
    blocker.unlink()
    assert there.ask("DELETE", "manifests/a").status == 202


def test_refusals_name_the_rule_and_the_mere_question_who_one_is_is_none(
    serve: Serve, path: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "access.yaml"
    rules.write_text(
        "- {who: anonymous, repositories: ['public/**'], may: [pull, push]}\n"
        "- {who: anonymous, repositories: ['public/x'], deny: [push]}\n"
    )
    settings = {"access": {"rules_file": str(rules)}, "audit": {"file": str(path)}}
    server = serve(settings=settings)
    assert repository(server, "secret/app").get("1").refuses(403, "DENIED")
    assert repository(server, "public/x").ask("POST", "blobs/uploads/").refuses(403, "DENIED")
    assert repository(server, "public/x").get("1").status == 404
    first, second = [line for line in lines(path) if line["number"] > 1]
    assert (first["event"], first["outcome"], first["who"]) == ("request.refused", "refused", "anonymous")
    assert (first["repository"], first["detail"]) == ("secret/app", "pull: GET /v2/secret/app/manifests/1")
    assert first["rule"] == "no access rule grants anonymous to pull from secret/app"
    assert second["rule"].startswith("access rule 2 (line 2) denies it")

    rules.write_text("- {who: 'user:alice', repositories: ['**'], may: [pull]}\n")
    settings = {"access": {"rules_file": str(rules)}, "audit": {"file": f"{path}.2"}}
    known = repository(serve(settings=settings))
    assert known.get("1").refuses(401, "UNAUTHORIZED")
    assert len(lines(Path(f"{path}.2"))) == 1
    assert known.get("1", {"Authorization": "Bearer a.b.c"}).refuses(401, "UNAUTHORIZED")
    (refused,) = lines(Path(f"{path}.2"))[1:]
    assert (refused["event"], refused["via"]) == ("request.refused", "token")


def test_pulls_are_noted_where_that_is_asked_for(serve: Serve, path: Path) -> None:
    there = repository(serve(settings={"audit": {"file": str(path), "pulls": True}}))
    made = there.push(image(), "a")
    before = len(lines(path))
    there.get("a")
    there.get(made.digest)
    there.ask("HEAD", "manifests/a")
    there.get("none")
    assert [(line["event"], line.get("tag", ""), line["digest"]) for line in lines(path)[before:]] == [
        ("manifest.pulled", "a", made.digest),
        ("manifest.pulled", "", made.digest),
    ]


def test_pulls_are_not_noted_otherwise(serve: Serve, path: Path) -> None:
    there = repository(serve(settings={"audit": {"file": str(path)}}))
    there.push(image(), "a")
    before = len(lines(path))
    there.get("a")
    assert len(lines(path)) == before


def test_without_a_file_the_log_has_the_trail(serve: Serve, tmp_path: Path) -> None:
    server = serve(settings={"log": {"format": "json", "level": "error"}})
    repository(server).push(image(), "a")
    server.stop()
    log = tmp_path / "log"
    log.write_text(server.log)
    (process,) = whole(log)["processes"]
    assert (process["lines"], process["ended"]) == (4, True)


def test_what_the_operator_does_is_in_the_file_and_in_the_store(serve: Serve, path: Path) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    there = repository(server)
    there.push(image(), "a")
    there.push(image(), "b")
    before = len(lines(path))
    server.command("tag", "delete", "team/app:a", "--dry-run")
    server.command("tag", "list", "team/app")
    server.command("storage", "read-only")
    assert len(lines(path)) == before
    server.command("tag", "delete", "team/app:a", "--yes")
    server.command("storage", "read-only", "on")
    server.command("repo", "delete", "team/app", "--yes", code=3)
    server.command("storage", "read-only", "off")
    server.command("repo", "delete", "team/app", "--yes")
    wanted = [
        ("tag.deleted", "operator", "team/app", "tag delete"),
        ("storage.switched", "operator", "", "storage read-only: switch on"),
        ("storage.switched", "operator", "", "storage read-only: switch off"),
        ("repository.deleted", "operator", "team/app", "repo delete"),
    ]
    added = [line for line in lines(path)[before:] if not line["event"].startswith("audit.")]
    assert [
        (line["event"], line["who"], line.get("repository", ""), line["detail"]) for line in added
    ] == wanted
    assert {line["via"] for line in added} == {"command line"}
    listed = json.loads(server.command("audit", "list", "--json").out)["entries"]
    assert [
        (entry["event"], entry["who"], entry["repository"], entry["detail"]) for entry in listed
    ] == wanted
    server.stop()
    assert all(process["ended"] for process in whole(path)["processes"])


def test_what_is_done_through_the_operations_api_says_by_whom_and_by_which_rule(
    serve: Serve, path: Path, tmp_path: Path
) -> None:
    rules = rules_file(
        tmp_path,
        "- {who: user:alice, repositories: ['**'], may: [pull, push, delete, admin]}\n"
        "- {who: user:bob, repositories: ['**'], may: [pull]}\n",
    )
    server = serve(settings={**rules, "audit": {"file": str(path)}})
    alice, bob = add_user(server, "alice"), add_user(server, "bob", ["devs"])
    made = image()
    there = repository(server)
    fields = {**alice.basic, "Content-Type": made.media_type}
    for blob in made.blobs:
        query = f"?digest={quote(digest_of(blob))}"
        assert there.ask("POST", f"blobs/uploads/{query}", alice.basic, blob).status == 201
    assert there.put(made, "a", headers=fields).status == 201
    before = len(lines(path))
    document = json.dumps({"reference": "team/app:a"}).encode()
    statuses = [
        server.registry.ask(
            "POST", "/api/v1/tag/delete", {**who.basic, "Content-Type": "application/json"}, document
        ).status
        for who in (bob, alice, alice)
    ]
    assert statuses == [403, 200, 404]
    entered, refused, deleted = lines(path)[before:]
    assert (entered["event"], entered["who"]) == ("login.succeeded", "user:bob")
    assert (refused["event"], refused["who"], refused["via"]) == ("request.refused", "user:bob", "basic")
    assert refused["detail"] == "delete: POST /api/v1/tag/delete"
    assert (deleted["event"], deleted["who"], deleted["tag"]) == ("tag.deleted", "user:alice", "a")
    assert (deleted["rule"], deleted["detail"]) == ("access rule 1 (line 1) grants it", "tag delete")
    # In the file and in the store: that both were made, by whom, and nothing of their passwords.
    kept = json.loads(server.command("audit", "list", "--json").out)["entries"]
    assert [(entry["event"], entry["who"], entry["detail"]) for entry in kept] == [
        ("access.changed", "operator", "user add: name alice, password [hidden]"),
        ("access.changed", "operator", "user add: name bob, group devs, password [hidden]"),
        ("tag.deleted", "user:alice", "tag delete"),
    ]
    assert [line["event"] for line in lines(path)].count("access.changed") == 2
    for secret in (alice.password, bob.password):
        assert secret not in path.read_text() + json.dumps(kept) + server.log


def test_a_killed_server_leaves_a_sound_trail_without_an_end(serve: Serve, path: Path) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    repository(server).push(image(), "a")
    server.kill()
    (process,) = whole(path)["processes"]
    assert (process["lines"], process["ended"]) == (3, False)
    again = serve(settings={"audit": {"file": str(path)}})
    again.stop()
    assert [process["ended"] for process in whole(path)["processes"]] == [False, True]


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        json.dumps(
            {
                "storage": {"root": str(tmp_path / "data")},
                "registry": {"listen": "127.0.0.1:0"},
                "ops": {"listen": "127.0.0.1:0"},
                "audit": {"file": "data"},
            }
        )
    )
    ended = moorage("serve", "--config", str(config), code=1)
    assert f"the audit file {tmp_path}/data (audit.file) cannot be written: Is a directory" in ended.err


def test_two_workers_share_a_file_that_is_rotated_meanwhile(serve: Serve, path: Path) -> None:
    server = serve(settings={"workers": 2, "audit": {"file": str(path)}})
    rotated: list[Path] = []
    done = threading.Event()

    def push(number: int) -> list[str]:
        there = repository(server, f"load/{number}")
        made = there.push(image())
        tags = [f"t{turn}" for turn in range(25)]
        for tag in tags:
            assert there.put(made, tag).status == 201
        return [f"load/{number}:{tag}" for tag in tags]

    def rotate() -> None:
        # As long as pushes go on: each time that the file has grown a little.
        while not done.is_set():
            if path.exists() and path.stat().st_size > 4000:
                name = path.with_suffix(f".{len(rotated)}")
                path.rename(name)
                rotated.append(name)

    rotating = threading.Thread(target=rotate)
    rotating.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            pushed = sorted(name for names in pool.map(push, range(4)) for name in names)
    finally:
        done.set()
        rotating.join()
    server.stop()
    files = [*rotated[1::2], path, *rotated[::2]]
    report = whole(*files)
    assert len(rotated) > 3
    assert len(report["processes"]) == 2
    assert all(process["ended"] for process in report["processes"])
    created = [line for line in lines(*files) if line["event"] == "tag.created"]
    assert sorted(f"{line['repository']}:{line['tag']}" for line in created) == pushed


def test_one_line_that_is_gone_is_found(serve: Serve, path: Path) -> None:
    server = serve(settings={"audit": {"file": str(path)}})
    repository(server).push(image(), "a")
    server.stop()
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[:1] + text[2:]))
    ended = moorage("audit", "verify", str(path), code=4)
    assert "MISSING: 1" in ended.out
    path.write_text("".join(text).replace("team/app", "team/bpp", 1))
    assert "ALTERED: 2" in moorage("audit", "verify", str(path), code=4).out


def test_no_secret_is_in_any_line_or_entry(serve: Serve, path: Path, tmp_path: Path) -> None:
    canary = secrets.token_hex(12)
    rules = tmp_path / "access.yaml"
    rules.write_text("- {who: anonymous, repositories: ['open/**'], may: [pull, push]}\n")
    settings = {"audit": {"file": str(path), "pulls": True}, "log": {"level": "debug"}}
    for more in ({}, {"access": {"rules_file": str(rules)}}):
        server = serve(settings={**settings, **more})
        for authorization in (f"Bearer {canary}", f"Basic {canary}", canary):
            headers = {
                "Authorization": authorization,
                "Cookie": f"a={canary}",
                "User-Agent": f"x Bearer {canary} https://u:{canary}@example.com/?signature={canary}",
            }
            for name in ("open/app", "shut/app"):
                there = repository(server, name)
                made = image()
                for method, rest in (("GET", "1"), ("DELETE", "1"), ("DELETE", made.digest)):
                    there.ask(method, f"manifests/{rest}?token={canary}", headers)
                there.put(made, "1", headers={**headers, "Content-Type": made.media_type})
        server.stop()
        assert canary not in server.log
    text = path.read_text()
    assert "request.refused" in text and "[hidden]" in text
    assert canary not in text
    kept = server.root / "_moorage/v1/audit"
    assert not any(canary in file.read_text() for file in kept.glob("*"))
    whole(path)
