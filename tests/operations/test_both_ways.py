"""Each operation on a store and, through a server, on a copy of it: what comes of it is the same."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.cli.commands import build
from registry.cli.composition import Imported
from tests.api.client import ask
from tests.api.contents import digest_of, image
from tests.api.server import Server
from tests.operations.description import OFFERED, result_fits
from tests.server.test_tls import make
from tests.server.test_tls import settings as tls_settings

# A server is a real process.
pytestmark = pytest.mark.e2e

PASSWORD = os.urandom(12).hex()
TIMES = ("created_at", "password_at", "expires_at", "used_at")
ORIGIN = ("id", "time", "who", "address", "via", "agent", "rule", "request")
ENTRIES = ("at", "by", "entry", "next", "run", "until")
MISSING = f"sha256:{'0' * 64}"
KNOWN = image()
LAYER = digest_of(KNOWN.blobs[-1])
# What has deleted c:v2.
RUN = "u-known"


@dataclass(frozen=True)
class Example:
    """A command, and how it ends; `given` is its standard input.

    `varies` are the fields of its result that are another each time, wherever in it they stand.
    """

    words: str
    code: int = 0
    varies: tuple[str, ...] = ()
    given: str = ""


# Those of a noun in this order on both stores. What is added to the table of operations is added here.
EXAMPLES: Mapping[str, Sequence[Example]] = {
    "repo.list": (
        Example("repo list"),
        Example("repo list --limit 1"),
        Example("repo list --last a/b --limit 1000"),
        Example("repo list --limit 0", 2),
    ),
    "repo.show": (
        Example("repo show a/b"),
        Example("repo show spoilt"),
        Example("repo show none", 1),
        Example("repo show None", 2),
        Example("repo show localhost:5000/a/b", 2),
    ),
    "tag.list": (Example("tag list a/b"), Example("tag list none", 1)),
    "gc.run": (
        Example("gc run --dry-run", varies=("began", "ended", "by")),
        Example("gc run --yes", varies=("began", "ended", "by")),
    ),
    "gc.status": (Example("gc status", varies=("reports",)),),
    "gc.explain": (Example(f"gc explain {MISSING}"), Example("gc explain nonsense", 2)),
    "retention.run": (
        # Neither has rules; tests/e2e/test_retention.py has a server that does.
        Example("retention run --dry-run", 3),
        Example("retention run --yes --repositories a/* --max-delete-percent 100", 3),
        Example("retention run --yes --max-delete-percent 101", 2),
    ),
    "retention.status": (Example("retention status", varies=("reports",)),),
    "retention.explain": (Example("retention explain a/b:v1"), Example("retention explain a/b:none", 1)),
    "client.config": (
        # Neither answers for other registries; tests/e2e/test_client_config.py has a server that does.
        Example("client config podman --url http://registry.example:5000"),
        Example("client config docker --url https://registry.example --mirror-url https://hub.example"),
        Example("client config buildkit --url https://example.com/registry", 3),
        Example("client config podman --url registry.example", 2),
        Example("client config rkt", 2),
    ),
    # Neither has a namespace that comes from elsewhere; tests/e2e/test_mirror_operations.py has.
    "mirror.list": (Example("mirror list"),),
    "mirror.status": (Example("mirror status"), Example("mirror status hub", 1)),
    "mirror.sync": (
        Example("mirror sync --yes"),
        Example("mirror sync --dry-run"),
        Example("mirror sync hub --yes", 1),
    ),
    "mirror.prefetch": (
        Example("mirror prefetch", 2),
        Example("mirror prefetch a/b:v1", 1),
        Example("mirror prefetch nonsense//", 1),
        Example("mirror prefetch a/b:v1 --platform nonsense", 2),
    ),
    "mirror.pin": (
        Example("mirror pin a/b:v1", 1),
        Example("mirror pin a/b:v1@sha256:no", 2),
    ),
    "mirror.unpin": (
        Example("mirror unpin a/b:v1"),
        Example(f"mirror unpin a/b@{MISSING}"),
        Example("mirror unpin a//b", 2),
    ),
    "mirror.evict": (
        Example("mirror evict --dry-run"),
        Example("mirror evict --yes"),
        Example("mirror evict hub --yes", 1),
    ),
    # Neither has streams, keys or bundles; tests/e2e/test_bundles.py has registries that do.
    "bundle.plan": (
        Example("bundle plan weekly", 1),
        Example("bundle plan images --image a/b:v1"),
        Example("bundle plan images --image none:v1", 1),
        Example("bundle plan images --image a/b:v1 --platform nonsense", 2),
    ),
    "bundle.export": (
        Example("bundle export images --image a/b:v1", 1),
        Example("bundle export images --image a/b:v1 --unsigned", 2),
        Example("bundle export images --image a/b:v1 --unsigned --media much", 2),
        Example("bundle export Images --image a/b:v1 --unsigned", 2),
        Example("bundle export images --image a/b:v1 --unsigned --format 2", 2),
    ),
    "bundle.import": (Example("bundle import", 2),),
    "bundle.inventory": (
        Example("bundle inventory --repositories a/b"),
        Example("bundle inventory --repositories nothing/*"),
        Example("bundle inventory --repositories a/***", 2),
    ),
    "bundle.acknowledge": (
        Example("bundle acknowledge nonsense", 1),
        Example("bundle acknowledge 0000-0000-0000-0000", 1),
    ),
    "bundle.forget": (Example("bundle forget b-00000000000000000000", 1),),
    "bundle.approve": (Example("bundle approve b-00000000000000000000", 1),),
    "bundle.reject": (Example("bundle reject nonsense", 1),),
    "bundle.undo": (Example("bundle undo b-00000000000000000000", 1),),
    "bundle.list": (Example("bundle list", varies=("held_until",)),),
    "bundle.show": (Example("bundle show b-00000000000000000000", 1),),
    "bundle.key.list": (Example("bundle key list"),),
    "scrub.run": (
        Example("scrub run --dry-run", varies=("began", "ended", "by")),
        Example("scrub run --yes", varies=("began", "ended", "by")),
    ),
    "scrub.status": (Example("scrub status", varies=("reports", "all_verified_since")),),
    "usage.count": (Example("usage count", varies=("began", "ended", "by")),),
    "usage.show": (
        Example("usage show", varies=("began", "age_seconds", "by")),
        Example("usage show a --limit 1", varies=("began", "age_seconds", "by")),
        Example("usage show a/", varies=("began", "age_seconds", "by")),
        Example("usage show nothing/of/it", 1),
        Example("usage show a//", 2),
        Example("usage show None", 2),
    ),
    "trash.empty": (
        Example("trash empty --dry-run"),
        Example("trash empty --yes"),
        Example("trash empty --everything --yes", 3),
    ),
    "storage.check": (
        Example("storage check", 4),
        Example("storage check --hash-blobs", 4),
    ),
    "tag.history": (
        Example("tag history a/b:v1", 0, ENTRIES),
        Example("tag history c:v2", 0, ENTRIES),
        Example("tag history c:v2 --limit 1", 0, ENTRIES),
        Example("tag history c:v2 --last 0"),
        Example("tag history c:none", 1),
        Example("tag history c", 2),
    ),
    "tag.restore": (
        Example(f"tag restore c:v2@{KNOWN.digest}"),
        Example(f"tag restore c:v2@{MISSING}", 1),
        Example("tag restore c:v2", 2),
        Example("tag restore c:v2@sha256:no", 2),
        Example("tag list c"),
    ),
    "tag.copy": (
        Example("tag copy a/b:v1 b:stable"),
        Example(f"tag copy a/b@{KNOWN.digest} a/b:stable --no-referrers"),
        Example("tag copy a/b:none b:stable", 1),
        Example("tag copy a/b b:stable", 2),
        Example("tag copy a/b:v1 localhost:5000/b:stable", 2),
        Example("tag copy localhost:5000/a/b@sha256:no b:stable", 2),
        Example("repo show b"),
    ),
    "pulls.show": (
        Example("pulls show c", 0, ("recorded_until",)),
        Example("pulls show c:v1 --days 400 --limit 1", 0, ("recorded_until",)),
        Example("pulls show c:v3", 0, ("recorded_until",)),
        Example("pulls show none", 1),
        Example("pulls show c --days 0", 2),
        Example("pulls show localhost:5000/c:v1", 2),
        Example(f"pulls show c@{MISSING}", 2),
    ),
    "trash.list": (
        Example("trash list", 0, ENTRIES),
        Example("trash list c --limit 1", 0, ENTRIES),
        Example(f"trash list --last {RUN}"),
        Example("trash list none"),
        Example("trash list --last u-none", 1),
        Example("trash list --last none", 2),
    ),
    "trash.show": (
        Example(f"trash show {RUN}", 0, ENTRIES),
        Example(f"trash show {RUN} --limit 1 --last 1", 0, ENTRIES),
        Example(f"trash show {RUN} --last 0", 2),
        Example("trash show u-none", 1),
        Example("trash show ../none", 2),
    ),
    "trash.restore": (
        Example(f"trash restore {RUN}"),
        Example("tag list c"),
        Example("trash restore u-none", 1),
        Example("trash restore ../none", 2),
    ),
    "trash.purge": (
        Example(f"trash purge {KNOWN.digest} --dry-run"),
        Example(f"trash purge {KNOWN.digest}", 3),
        Example(f"trash purge {LAYER} --reason leaked --yes"),
        Example("trash purge sha256:no --yes", 2),
    ),
    "trash.purged": (Example("trash purged", 0, ENTRIES),),
    "trash.unblock": (
        Example(f"trash unblock {MISSING}", 1),
        Example(f"trash unblock {LAYER}"),
        Example("trash purged"),
    ),
    "tag.delete": (
        Example("tag delete a/b:v1 --dry-run"),
        Example("tag delete a/b:v1 --yes"),
        Example("tag delete a/b:v1 --yes", 1),
        Example("tag delete a/b", 3),
        Example("tag delete a/b --yes", 2),
        Example(f"tag delete a/b@{MISSING} --yes", 2),
        Example("tag delete localhost:5000/a/b:v1 --yes", 2),
        Example("tag list a/b"),
    ),
    "repo.delete": (
        Example("repo delete c --dry-run"),
        Example("repo delete c --yes"),
        Example("repo delete c --yes", 1),
        Example("repo list"),
    ),
    "repo.restore": (
        Example("repo restore c", 0, ("run",)),
        Example("repo show c"),
        Example("repo restore none", 1),
        Example("repo restore c --run u-none", 1),
        Example(f"repo restore a/b --run {RUN}", 1),
        Example(f"repo restore c --run {RUN} --overwrite --partial"),
    ),
    "user.add": (
        Example("user add alice --group devs --group ops --password-stdin", 0, TIMES, f"{PASSWORD}\n"),
        Example("user add alice --password-stdin", 1, (), f"{PASSWORD}\n"),
        Example("user add bob --password-stdin", 2),
        Example("user add bob", 2),
        Example("user add b:b --password-stdin", 1, (), PASSWORD),
        Example("user add long --password-stdin", 1, (), "x" * 100),
    ),
    "user.list": (Example("user list", 0, TIMES),),
    "user.show": (Example("user show alice", 0, TIMES), Example("user show nobody", 1)),
    "user.set": (
        Example("user set alice --group ops", 0, TIMES),
        Example("user set alice --no-groups", 0, TIMES),
        Example("user set alice", 2),
    ),
    "user.password": (
        Example("user password alice --password-stdin", 0, (), f"new {PASSWORD}"),
        Example("user password nobody --password-stdin", 1, (), PASSWORD),
    ),
    "user.disable": (Example("user disable alice"), Example("user disable nobody", 1)),
    "user.enable": (Example("user enable alice"), Example("user show alice", 0, TIMES)),
    "user.remove": (
        Example("user remove alice --dry-run"),
        Example("user remove alice --yes"),
        Example("user remove alice --yes", 1),
        Example("user list", 0, TIMES),
    ),
    "apikey.add": (
        Example("apikey add ci --repositories a/**,c --may pull,push --expires 90d", 0, ("key", *TIMES)),
        Example("apikey add ci --repositories a/** --may pull", 1),
        Example("apikey add other --repositories a/**", 2),
        Example("apikey add other --repositories a/*** --may pull", 2),
        Example("apikey add other --repositories a --may fly", 2),
        Example("apikey add other --repositories a --may pull --expires 90", 2),
    ),
    "apikey.list": (Example("apikey list", 0, TIMES), Example("apikey list --expiring 14d")),
    "apikey.show": (Example("apikey show ci", 0, TIMES), Example("apikey show none", 1)),
    "apikey.revoke": (
        Example("apikey revoke ci --dry-run"),
        Example("apikey revoke ci --yes"),
        Example("apikey revoke none --yes", 1),
    ),
    "access.explain": (
        Example("access explain anonymous push a/b:v1"),
        Example("access explain user:alice pull a/b", 1),
        Example("access explain anonymous fly a/b", 2),
        Example("access explain nobody push a/b", 1),
        Example("access explain issuer:x:y pull a/b --claim ref=main --group group:devs"),
    ),
    # Of the registry itself, which a copy is not.
    "access.show": (Example("access show", 0, ("issuer", "service", "kids")),),
    "access.rotate-key": (
        Example("access rotate-key", 0, ("kid",)),
        Example("access rotate-key --revoke", 0, ("kid",)),
    ),
    "access.logout": (
        Example("access logout user:alice --dry-run"),
        Example("access logout user:alice --yes"),
        Example("access logout ldap:left --yes"),
        Example("access logout alice --yes", 1),
        Example("access logout key:ci --yes", 1),
        Example("access logout user: --yes", 1),
    ),
    # The same was done to both, by another and from elsewhere.
    "audit.list": (
        Example("audit list --limit 1000", 0, ORIGIN),
        Example("audit list --since 1d --until 9999-01-01 --repository a/* --limit 1000", 0, ORIGIN),
        Example("audit list --who user:nobody"),
        Example("audit list --since yesterday", 2),
    ),
    "storage.reindex": (Example("storage reindex"),),
    "storage.adopt": (
        Example("storage adopt --dry-run", 4),
        Example("storage adopt --hash-blobs", 4),
        Example("storage adopt", 4),
    ),
    "storage.leave": (Example("storage leave"),),
    "storage.upgrade": (Example("storage upgrade"),),
    "storage.read-only": (
        Example("storage read-only"),
        Example("storage read-only on"),
        Example("storage read-only"),
        Example("storage read-only perhaps", 2),
        Example("storage read-only off"),
    ),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: list[str]

    @property
    def told(self) -> list[str]:
        """Standard error without progress, and without where it was done."""
        return [line for line in self.err if '"progress"' not in line and not line.startswith("the store ")]


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command as somebody without settings, credentials or a terminal."""
    for name in ("MOORAGE_CONFIG", "MOORAGE_STORAGE_ROOT", "MOORAGE_USERNAME", "MOORAGE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def one(*words: str, given: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        capsys.readouterr()
        with pytest.raises(SystemExit) as raised:
            build(list(words), Imported())(args=list(words), prog_name="moorage")
        written = capsys.readouterr()
        code = raised.value.code
        return Ended(code if isinstance(code, int) else 0, written.out, written.err.splitlines())

    return one


@dataclass(frozen=True)
class Pair:
    """A store, and a server on a copy of it."""

    root: Path
    server: Server

    @property
    def here(self) -> list[str]:
        """The options for the store."""
        return ["--root", str(self.root)]

    @property
    def there(self) -> list[str]:
        """The options for the server."""
        return ["--server", f"http://{self.server.registry.host_port}"]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both with the same content, some of it damaged."""
    first = Server(tmp_path / "first", tmp_path)
    for name in ("a/b", "c", "spoilt"):
        for tag in ("v1", "v2"):
            first.repository(name).push(KNOWN if name in ("a/b", "c") else image(), tag)
    # So that there is something in the records of both.
    for method, reference in (("GET", "v1"), ("HEAD", "v1"), ("GET", KNOWN.digest)):
        assert first.repository("c").ask(method, f"manifests/{reference}").status == 200
    assert first.repository("c").ask("DELETE", "manifests/v2").status == 202
    first.stop()
    (record,) = (tmp_path / "first/_moorage/v1/trash/runs").iterdir()
    (taken,) = (tmp_path / "first/_moorage/v1/trash/links/c/_/tags/v2").iterdir()
    record.write_text(record.read_text().replace(record.name, RUN))
    for file in (record, taken):
        file.rename(file.with_name(RUN))
    links = tmp_path / "first/docker/registry/v2/repositories/spoilt/_manifests/tags/v1/current/link"
    links.write_text(MISSING)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    server = Server(tmp_path / "second", tmp_path)
    yield Pair(tmp_path / "first", server)
    server.stop()


def without(document: Any, varies: Sequence[str]) -> Any:
    if isinstance(document, list):
        return [without(one, varies) for one in document]
    if isinstance(document, dict):
        return {name: without(value, varies) for name, value in document.items() if name not in varies}
    return document


def test_every_operation_has_an_example() -> None:
    assert set(EXAMPLES) == {one.name for one in OFFERED}, "add what is missing to EXAMPLES above"


@pytest.mark.parametrize("noun", dict.fromkeys(name.partition(".")[0] for name in EXAMPLES))
def test_what_comes_of_an_operation_is_the_same_both_ways(run: Run, pair: Pair, noun: str) -> None:
    changing = {one.name for one in OFFERED if one.changes}
    compared = 0
    for name, examples in EXAMPLES.items():
        for example in examples if name.startswith(f"{noun}.") else ():
            words = example.words.split()
            # For people first, where that changes nothing.
            looks = name not in changing or "--dry-run" in words or example.code
            for extra in ([], ["--json"]) if looks else (["--json"],):
                here = run(*words, *extra, *pair.here, given=example.given)
                there = run(*words, *extra, *pair.there, given=example.given)
                assert (here.code, here.told) == (there.code, there.told), example
                assert PASSWORD not in str((here, there))
                assert here.code == example.code, example
                if here.out and extra:
                    documents = [json.loads(one.out) for one in (here, there)]
                    assert without(documents[0], example.varies) == without(documents[1], example.varies)
                    # In the same order too, since people read it.
                    assert list(documents[0]) == list(documents[1])
                elif not example.varies:
                    assert here.out == there.out, example
                compared += bool(here.out)
    assert compared


def test_what_the_server_answers_is_what_the_command_shows(run: Run, pair: Pair) -> None:
    for words, document in (
        ("repo list", {}),
        ("repo show a/b", {"repository": "a/b"}),
        ("tag list a/b", {"repository": "a/b"}),
        ("tag delete a/b:v1 --dry-run", {"reference": "a/b:v1", "dry_run": True}),
        ("storage check", {"hash_blobs": False}),
    ):
        noun, verb, *_ = words.split()
        shown = json.loads(run(*words.split(), "--json", *pair.here).out)
        answer = ask(
            pair.server.registry.host_port,
            "POST",
            f"/api/v1/{noun}/{verb}",
            {"Content-Type": "application/json"},
            json.dumps(document).encode(),
        )
        assert answer.status == 200
        assert answer.json()["result"] == shown
        assert result_fits(f"{noun}.{verb}", answer.json())


def test_both_show_progress(run: Run, pair: Pair) -> None:
    for place in (pair.here, pair.there):
        told = [json.loads(line) for line in run("storage", "check", "--json", *place).err]
        assert [one["progress"]["text"] for one in told] == ["a/b", "c", "spoilt"]


def test_a_read_only_store_refuses_both_ways(
    run: Run, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORAGE_READ_ONLY", "true")
    server = Server(pair.root, tmp_path, {"read_only": True})
    try:
        for place in (pair.here, ["--server", f"http://{server.registry.host_port}"]):
            ended = run("repo", "delete", "c", "--yes", *place)
            assert (ended.code, len(ended.told)) == (3, 1)
            assert "the registry is read-only" in ended.told[0]
            assert run("repo", "show", "c", *place).code == 0
    finally:
        server.stop()


RULES = """
- {who: anonymous, repositories: ['public/**'], may: [pull, list]}
- {who: 'user:alice', repositories: ['**'], may: [pull, push, list, delete, admin]}
"""
OPEN_RULES = "- {who: anonymous, repositories: ['**'], may: [pull, push, list]}"


@pytest.mark.parametrize(
    ("rules", "status", "code"),
    [(RULES, 401, "UNAUTHORIZED"), (OPEN_RULES, 403, "DENIED")],
    ids=["somebody may", "nobody may"],
)
def test_the_rules_of_the_server_hold(run: Run, tmp_path: Path, rules: str, status: int, code: str) -> None:
    first = Server(tmp_path / "data", tmp_path)
    for name in ("public/base", "team/app"):
        first.repository(name).push(image(), "v1")
    first.stop()
    (tmp_path / "access.yaml").write_text(rules)
    settings = {"access": {"rules_file": str(tmp_path / "access.yaml")}}
    server = Server(tmp_path / "data", tmp_path, settings)
    try:
        url = f"http://{server.registry.host_port}"
        listed = run("repo", "list", "--server", url)
        everything = "public/base\n" if status == 401 else "public/base\nteam/app\n"
        assert (listed.code, listed.out) == (0, everything)
        for words in ("tag delete public/base:v1 --yes", "repo delete team/app --yes", "storage check"):
            assert run(*words.split(), "--server", url).code == 3
        answer = server.registry.ask(
            "POST",
            "/api/v1/repo/delete",
            {"Content-Type": "application/json"},
            b'{"repository": "public/base"}',
        )
        assert (answer.status, answer.json()["errors"][0]["code"]) == (status, code)
        assert (answer.get("WWW-Authenticate") is not None) == (status == 401)
        assert run("repo", "list", "--root", str(tmp_path / "data")).out == "public/base\nteam/app\n"
    finally:
        server.stop()


TEAM = """
- {who: 'user:alice', repositories: ['team/**'], may: [pull, push, list, delete]}
- {who: 'user:dora', repositories: ['**'], may: [admin]}
"""


def test_somebody_may_through_a_server_what_the_rules_grant_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    first = Server(root, tmp_path)
    for name in ("public/base", "team/app"):
        first.repository(name).push(image(), "v1")
    first.stop()
    for name in ("alice", "dora"):
        words = ("user", "add", name, "--password-stdin", "--root", str(root))
        assert run(*words, given=PASSWORD).code == 0
    (tmp_path / "access.yaml").write_text(TEAM)
    server = Server(root, tmp_path, {"access": {"rules_file": str(tmp_path / "access.yaml")}})
    url = f"http://{server.registry.host_port}"

    def outcome(words: str) -> tuple[int, str]:
        ended = run(*words.split(), "--server", url)
        assert PASSWORD not in str(ended)
        return int(ended.code), ended.out

    try:
        assert outcome("repo list")[0] == 3
        monkeypatch.setenv("MOORAGE_USERNAME", "alice")
        monkeypatch.setenv("MOORAGE_PASSWORD", PASSWORD)
        assert outcome("repo list") == (0, "team/app\n")
        assert outcome("tag delete team/app:v1 --yes")[0] == 0
        assert outcome("repo show public/base")[0] == 3
        assert outcome("user list")[0] == 3
        monkeypatch.setenv("MOORAGE_PASSWORD", f"{PASSWORD}x")
        assert outcome("repo list")[0] == 3
        monkeypatch.delenv("MOORAGE_USERNAME")
        monkeypatch.delenv("MOORAGE_PASSWORD")
        auth = base64.b64encode(f"dora:{PASSWORD}".encode()).decode()
        login = {"auths": {server.registry.host_port: {"auth": auth}}}
        (tmp_path / "config.json").write_text(json.dumps(login))
        assert outcome("storage check")[0] == 0
        assert outcome("user show alice")[0] == 0
        assert outcome("repo show team/app")[0] == 3
        assert PASSWORD not in server.log
    finally:
        server.stop()


def test_a_certificate_is_verified(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make(tmp_path / "pair")
    server = Server(tmp_path / "data", tmp_path, {"registry": {"tls": tls_settings(pair)}})
    try:
        url = f"https://{server.registry.host_port}"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        refused = run("repo", "list", "--server", url)
        assert refused.code == 1
        assert f"the certificate of {url} is not trusted" in refused.err[0]
        assert "SSL_CERT_FILE" in refused.err[0]
        monkeypatch.setenv("SSL_CERT_FILE", str(pair / "tls.crt"))
        assert run("repo", "list", "--server", url).code == 0
    finally:
        server.stop()
