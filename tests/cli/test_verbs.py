# ruff: noqa: RUF009 (argument() and option() make dataclass fields)
from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from registry.errors import (
    ManifestUnknown,
    NameInvalid,
    OutOfSpace,
    ReadOnly,
    RegistryError,
    StorageDamaged,
    Unsupported,
)
from registry.logs import event
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.work.operations import (
    Context,
    Operation,
    Progress,
    Result,
    Status,
    argument,
    option,
)
from storage.errors import NotFound, Unavailable
from storage.errors import OutOfSpace as NoRoom
from tests.cli.conftest import Fake, Run

Steps = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Everything:
    repository: RepositoryName = argument("the repository")
    state: Literal["on", "off"] = argument("which")
    more: tuple[RepositoryName, ...] = argument("others", default=())
    digest: Digest | None = option("a digest", default=None)
    limit: int = option("at most so many", default=5)
    hash_blobs: bool = option("read every byte", default=False)
    path: Path | None = option("a file", default=None, local=True)


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@dataclass(frozen=True, slots=True)
class Removed:
    tags: list[str]
    dry_run: bool


def listing(
    journal: list[Any], error: Exception | None = None, status: Status = Status.DONE
) -> Operation[Any]:
    async def run(asked: Everything, context: Context) -> Steps:
        journal.append((asked, context))
        if error is not None:
            raise error
        yield Progress(1, 2, "items", "looking")
        yield Result(Removed(["a", "b"], False), status, "a note")

    return Operation(
        "repo.look", "Look at a repository.", "repo.read", False, Everything, run, result=Removed
    )


def removing(journal: list[Any]) -> Operation[Any]:
    async def run(asked: Nothing, context: Context) -> Steps:
        journal.append(context.dry_run)
        yield Result(Removed(["a"], context.dry_run))

    return Operation("tag.drop-all", "Remove all tags.", "tag.delete", True, Nothing, run, result=Removed)


@pytest.fixture(autouse=True)
def stores(tmp_path: Path) -> None:
    """What the commands below work on."""
    for name in ("data", "there", "elsewhere"):
        (tmp_path / name / "_moorage").mkdir(parents=True)


class Typing(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_arguments_and_options_become_the_input(run: Run) -> None:
    journal: list[Any] = []
    digest = Digest.of(b"", "sha256")
    words = ["a/b", "on", "c", "d", "--digest", str(digest), "--limit", "7", "--hash-blobs", "--path", "p"]
    assert run("repo", "look", *words, composition=Fake([listing(journal)])).code == 0
    ((asked, context),) = journal
    names = (RepositoryName("c"), RepositoryName("d"))
    assert asked == Everything(RepositoryName("a/b"), "on", names, digest, 7, True, Path("p"))
    assert isinstance(asked.repository, RepositoryName)
    assert context == Context("operator", dry_run=False)


def test_what_is_left_out_is_the_default(run: Run) -> None:
    journal: list[Any] = []
    run("repo", "look", "a", "off", composition=Fake([listing(journal)]))
    assert journal[0][0] == Everything(RepositoryName("a"), "off")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["Bad/Name", "on"], "a repository name is made of"),
        (["a", "perhaps"], "'on|off': must be one of on, off"),
        (["a", "on", "--digest", "sha256:x"], "igest"),
        (["a"], "on|off"),
        (["a", "on", "--dry-run"], "--dry-run"),
        (["a", "on", "--frob"], "--frob"),
    ],
)
def test_usage_is_code_2_and_opens_nothing(run: Run, words: list[str], told: str) -> None:
    fake = Fake([listing([])])
    ended = run("repo", "look", *words, composition=fake)
    assert ended.code == 2
    # What the message says may be broken into lines inside of words like --dry-run's list.
    assert told.replace(" ", "") in ended.err.replace(" ", "").replace("\n", "")
    assert fake.journal == []


def test_a_noun_or_verb_that_is_not_there_is_code_2(run: Run) -> None:
    fake = Fake([listing([])])
    assert run("frob", composition=fake).code == 2
    assert run("repo", "frob", composition=fake).code == 2


def test_text_goes_to_standard_output_and_the_note_does_not(run: Run) -> None:
    ended = run("repo", "look", "a", "on", composition=Fake([listing([])]))
    assert ended.out == "dry run: no\ntags:\n  a\n  b\n"
    assert ended.err == "a note\n"


def test_json_is_the_result_on_standard_output_and_progress_elsewhere(run: Run) -> None:
    ended = run("repo", "look", "a", "on", "--json", composition=Fake([listing([])]))
    assert json.loads(ended.out) == {"tags": ["a", "b"], "dry_run": False}
    progress, note = map(json.loads, ended.err.splitlines())
    assert progress["progress"]["done"] == 1
    assert note == {"note": "a note"}


def test_the_operation_runs_on_the_configured_store_and_it_is_closed_behind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("storage: {root: there}")
    fake = Fake([listing([])])
    run("repo", "look", "a", "on", "--config", "c.yaml", composition=fake)
    assert str(fake.tables[-1].storage.root) == "there"
    run("repo", "look", "a", "on", "--config", "c.yaml", "--root", "elsewhere", composition=fake)
    assert str(fake.tables[-1].storage.root) == "elsewhere"
    assert fake.journal == ["open", "closed"] * 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ManifestUnknown(), 1),
        (OutOfSpace(), 1),
        (Unavailable("k", "no answer"), 1),
        (NotFound("k"), 1),
        (RegistryError(), 1),
        (NameInvalid(), 2),
        (Unsupported(), 3),
        (ReadOnly("not now"), 3),
        (StorageDamaged(), 4),
    ],
)
def test_errors_have_their_codes_and_are_told(run: Run, error: Exception, code: int) -> None:
    fake = Fake([listing([], error)])
    ended = run("repo", "look", "a", "on", composition=fake)
    assert (ended.code, ended.err) == (code, f"moorage: {error}\n")
    ended = run("repo", "look", "a", "on", "--json", composition=fake)
    assert (ended.code, json.loads(ended.err)) == (code, {"error": str(error), "exit": code})
    assert fake.journal == ["open", "closed"] * 2


def test_a_full_disk_is_told_with_what_to_do(run: Run) -> None:
    fake = Fake([listing([], NoRoom("k", "no room left on the disk"))])
    ended = run("repo", "look", "a", "on", composition=fake)
    assert ended.code == 1 and "disk: 'k'; make a little room" in ended.err


def test_who_may_not_write_is_told_where_that_is_switched(run: Run) -> None:
    ended = run("repo", "look", "a", "on", composition=Fake([listing([], ReadOnly())]))
    assert ended.code == 3 and "; see `moorage storage read-only`" in ended.err


@pytest.mark.parametrize(
    ("status", "code"), [(Status.DONE, 0), (Status.FAILED, 1), (Status.REFUSED, 3), (Status.DAMAGED, 4)]
)
def test_a_result_s_status_is_the_exit_code(run: Run, status: Status, code: int) -> None:
    ended = run("repo", "look", "a", "on", composition=Fake([listing([], status=status)]))
    assert ended.code == code
    assert "a\n" in ended.out


def test_removing_without_a_terminal_is_refused_before_anything_is_opened(run: Run) -> None:
    journal: list[Any] = []
    fake = Fake([removing(journal)])
    ended = run("tag", "drop-all", composition=fake)
    assert ended.code == 3
    assert "tag drop-all asks before it does anything" in ended.err
    assert "--yes" in ended.err
    assert (journal, fake.journal) == ([], [])


def test_what_is_logged_on_the_way_is_told_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fails(_: Nothing, __: Context) -> Steps:
        event(logging.getLogger("tests"), logging.INFO, "audit.begun")
        event(logging.getLogger("tests"), logging.WARNING, "upstream.failed", upstream="hub.example")
        yield Result(Removed([], False))

    looking = Operation("repo.look", "Look.", "repo.read", False, Nothing, fails, result=Removed)
    # As the audit trail does it.
    logging.getLogger("tests").setLevel(logging.INFO)
    with (tmp_path / "errors").open("w+") as errors:
        monkeypatch.setattr("registry.cli.verbs._STDERR", errors.fileno())
        run("repo", "look", composition=Fake([looking]))
        run("repo", "look", "--json", composition=Fake([looking]))
        errors.seek(0)
        text, line = errors
    assert text.rstrip().endswith("WARNING upstream.failed upstream=hub.example")
    assert json.loads(line)["upstream"] == "hub.example"


def test_yes_removes_and_a_dry_run_does_not(run: Run) -> None:
    journal: list[Any] = []
    fake = Fake([removing(journal)])
    assert run("tag", "drop-all", "--yes", composition=fake).code == 0
    assert run("tag", "drop-all", "--dry-run", composition=fake).code == 0
    assert run("tag", "drop-all", "--dry-run", "--yes", composition=fake).code == 0
    assert journal == [False, True, True]


@pytest.mark.parametrize(
    ("answer", "code", "runs"), [("y\n", 0, [True, False]), ("n\n", 3, [True]), ("\n", 3, [True])]
)
def test_a_terminal_is_asked_after_seeing_what_would_go(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, runs: list[bool]
) -> None:
    journal: list[Any] = []
    monkeypatch.setattr(sys, "stdin", Typing(answer))
    ended = run("tag", "drop-all", composition=Fake([removing(journal)]))
    assert (ended.code, journal) == (code, runs)
    assert "a" in ended.err


def test_another_user_s_store_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "docker").mkdir(parents=True)
    monkeypatch.setattr("os.geteuid", lambda: 65_000)
    fake = Fake([listing([])])
    ended = run("repo", "look", "a", "on", composition=fake)
    assert ended.code == 3
    assert "sudo -u" in ended.err
    assert "moorage repo look a on" in ended.err
    assert fake.journal == []


def test_help_lists_nouns_verbs_and_what_they_take(run: Run) -> None:
    fake = Fake([listing([]), removing([])])
    assert {"serve", "config", "version", "repo", "tag"} <= set(run("--help", composition=fake).out.split())
    assert "Look at a repository." in run("repo", "--help", composition=fake).out
    told = run("repo", "look", "--help", composition=fake).out
    assert run("repo", "look", "-h", composition=fake).out == told
    for word in (
        "REPOSITORY",
        "{on|off}",
        "--hash-blobs",
        "--limit",
        "--config",
        "--root",
        "--json",
        "default: 5",
    ):
        assert word in told
    assert "RepositoryName" not in told
    assert "--yes" not in told
    assert "--no-hash-blobs" not in told
    assert "--yes" in run("tag", "drop-all", "--help", composition=fake).out
