# ruff: noqa: RUF009 (argument() and option() make dataclass fields)
"""`--server`: what is asked of a server, and what is made of whatever answers there."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from registry import errors
from registry.cli.credentials import Credentials
from registry.cli.exits import Answered, Exit, ServerFailed, exit_of, told
from registry.cli.servers import CONNECT_SECONDS, Server, ServerURL
from registry.errors import RegistryError, entries
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option, status_of
from tests.cli.conftest import Fake, Run
from tests.cli.scripted import Scripted, answer, failed, lines
from tests.cli.test_verbs import Typing

Steps = AsyncIterator[Progress | Result]


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Asked:
    repository: RepositoryName = argument("the repository")
    digest: Digest | None = option("a digest", default=None)
    more: tuple[str, ...] = option("more", default=())
    limit: int = option("at most so many", default=5)
    colour: Colour = option("a colour", default=Colour.RED)
    crash: bool = option("crash", default=False, local=True)


@dataclass(frozen=True, slots=True)
class Secretive:
    name: str = argument("whose")
    password: str = option("the password", secret=True)


@dataclass(frozen=True, slots=True)
class Found:
    tags: list[str]
    size_bytes: int


async def never(asked: object, context: Context) -> Steps:
    """It is not done on this machine."""
    raise AssertionError((asked, context))
    yield


LOOK = Operation("repo.look", "Look.", "pull", False, Asked, never, result=Found)
DROP = Operation("repo.drop-all", "Drop.", "delete", True, Asked, never, result=Found)
SET = Operation("user.password", "Set.", "admin", False, Secretive, never, changes=True, result=Found)
HERE = Operation("access.test", "Test.", "admin", False, Asked, never, local=True, result=Found)

PROGRESS = {"progress": {"done": 1, "total": 2, "unit": "items", "text": "looking"}}
RESULT = {"status": "done", "result": {"tags": ["a", "b"], "size_bytes": 2048}, "note": "a note"}


@pytest.fixture
def fake() -> Fake:
    return Fake([LOOK, DROP, SET, HERE])


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests."""
    for name in ("MOORAGE_USERNAME", "MOORAGE_PASSWORD", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def test_what_was_given_is_asked_of_the_server_and_nothing_of_this_machine(run: Run, fake: Fake) -> None:
    digest = str(Digest.of(b""))
    with Scripted(lines(PROGRESS, RESULT)) as server:
        words = ["a/b", "--digest", digest, "--more", "x", "--more", "y", "--limit", "7"]
        ended = run("repo", "look", *words, "--server", f"{server.url}/prefix/", composition=fake)
    assert (ended.code, ended.out, ended.err) == (0, "size: 2KiB\ntags:\n  a\n  b\n", "a note\n")
    (request,) = server.requests
    assert request.target == "/prefix/api/v1/repo/look"
    assert request.document == {"repository": "a/b", "digest": digest, "more": ["x", "y"], "limit": 7}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/x-ndjson"
    assert request.headers["user-agent"].startswith("moorage/")
    assert "authorization" not in request.headers
    assert fake.journal == []


def test_json_is_the_result_and_progress_as_ever(run: Run, fake: Fake) -> None:
    with Scripted(lines(PROGRESS, PROGRESS, RESULT)) as server:
        ended = run("repo", "look", "a", "--server", server.url, "--json", composition=fake)
    assert json.loads(ended.out) == RESULT["result"]
    assert [json.loads(line) for line in ended.err.splitlines()] == [PROGRESS, PROGRESS, {"note": "a note"}]


def test_a_result_is_also_taken_without_lines(run: Run, fake: Fake) -> None:
    with Scripted(answer(200, json.dumps(RESULT).encode())) as server:
        assert run("repo", "look", "a", "--server", server.url, composition=fake).code == 0


@pytest.mark.parametrize("status", Status)
def test_the_status_of_a_result_is_the_exit_code(run: Run, fake: Fake, status: Status) -> None:
    with Scripted(lines({**RESULT, "status": status.value})) as server:
        ended = run("repo", "look", "a", "--server", server.url, composition=fake)
    assert ended.code == {"done": 0, "failed": 1, "refused": 3, "damaged": 4}[status.value]


@pytest.mark.parametrize(
    "result",
    [
        {"tags": ["a"], "size_bytes": 1, "colour": "red"},
        {"tags": ["a"]},
        {"tags": "a", "size_bytes": 1},
        {"tags": [["a"]], "size_bytes": 1},
    ],
    ids=["more", "less", "a text for a list", "a list for a text"],
)
def test_a_result_of_another_version_is_shown_as_it_came(
    run: Run, fake: Fake, result: dict[str, object]
) -> None:
    for words in ([], ["--json"]):
        with Scripted(lines({**RESULT, "result": result})) as server:
            ended = run("repo", "look", "a", "--server", server.url, *words, composition=fake)
        assert (ended.code, json.loads(ended.out)) == (0, result)


def test_what_deletes_is_looked_at_first_and_then_done(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed, code, asked in (("y\n", 0, [True, False]), ("n\n", 3, [True])):
        monkeypatch.setattr(sys, "stdin", Typing(typed))
        with Scripted(*[lines(RESULT)] * len(asked)) as server:
            ended = run("repo", "drop-all", "a", "--server", server.url, composition=fake)
        assert ended.code == code
        assert [request.document["dry_run"] for request in server.requests] == asked


def test_without_a_terminal_it_takes_yes_or_a_dry_run(run: Run, fake: Fake) -> None:
    assert run("repo", "drop-all", "a", "--server", "http://127.0.0.1:1", composition=fake).code == 3
    for word, dry_run in (("--yes", False), ("--dry-run", True)):
        with Scripted(lines(RESULT)) as server:
            assert run("repo", "drop-all", "a", word, "--server", server.url, composition=fake).code == 0
        assert [request.document["dry_run"] for request in server.requests] == [dry_run]


def kinds(kind: type[RegistryError] = RegistryError) -> Iterator[type[RegistryError]]:
    # Of those that have a code of another's, only what an operation can raise.
    if kind.__module__ == errors.__name__ and kind is not errors.TagsTooMany:
        yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_an_error_is_told_as_if_it_had_happened_here(
    kind: type[RegistryError], run: Run, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("this is why")
    document = {"errors": entries(error), "status": status_of(error).value}
    with pytest.raises(BaseException) as raised, told():
        raise error
    local = capsys.readouterr().err
    for sent in (failed(error.status, document), lines(PROGRESS, document)):
        with Scripted(sent) as server:
            ended = run("repo", "look", "a", "--server", server.url, composition=fake)
        assert ended.code == getattr(raised.value, "exit_code", None)
        assert ended.err.startswith(local.rstrip("\n"))


def test_every_wrong_field_is_told(run: Run, fake: Fake) -> None:
    wrong = [{"code": "INPUT_INVALID", "message": f"{name}: no", "detail": {}} for name in ("a", "b")]
    with Scripted(failed(400, {"errors": wrong, "status": "failed"})) as server:
        ended = run("repo", "look", "a", "--server", server.url, composition=fake)
    assert (ended.code, ended.err) == (2, "moorage: a: no\n  b: no\n")


def test_errors_of_who_answers_before_the_operation_have_codes_too() -> None:
    assert exit_of("DENIED", None) is Exit.REFUSED
    assert exit_of("UNAUTHORIZED", None) is Exit.REFUSED
    assert exit_of("UNAVAILABLE", None) is Exit.FAILED
    assert exit_of("UNKNOWN", "strange") is Exit.FAILED
    assert exit_of("UNKNOWN", ["list"]) is Exit.FAILED


GARBAGE: dict[str, tuple[bytes, str]] = {
    "a web page": (answer(200, b"<html>", "text/html"), "is no Moorage that does this: it answers 200 with"),
    "another registry": (
        answer(404, b"404 page not found", "text/plain"),
        "it answers 404 with 'text/plain'",
    ),
    "an older Moorage": (
        failed(404, {"errors": [{"code": "NOT_FOUND", "message": "x", "detail": {"path": "/"}}]}),
        "it has no such operation; it may be of another version",
    ),
    "a redirect": (
        answer(302, b"", "text/html", ["Location: https://elsewhere.example/"]),
        "leads to 'https://elsewhere.example/'; name the server itself with --server",
    ),
    "no HTTP": (b"220 mail.example ESMTP\r\n\r\n", "does not speak HTTP as it should"),
    "nothing": (b"", "broke off before its answer was whole"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Ty", "it answers 200 with"),
    "no result": (lines(PROGRESS), "broke off before its answer was whole"),
    "half a line": (lines(RESULT)[:-1], "broke off before its answer was whole"),
    "no JSON": (answer(200, b"{]\n", "application/x-ndjson"), "its answer is not JSON"),
    "half a surrogate": (
        answer(200, b'{"result":"\\ud800"}\n', "application/x-ndjson"),
        "has half of a surrogate pair",
    ),
    "a list": (answer(200, b"[]\n"), "its answer is not a JSON object"),
    "a form of its own": (answer(200, b'{"ok":true}\n'), "answers in a form that this version does not know"),
    "odd progress": (lines({"progress": {"done": "x"}}, RESULT), "in a form that this version does not know"),
    "an odd status": (lines({**RESULT, "status": "fine"}), "in a form that this version does not know"),
    "odd errors": (failed(500, {"errors": "x"}), "its errors are not those of a registry"),
    "no errors": (failed(500, {"errors": []}), "its errors are not those of a registry"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_what_is_no_moorage_is_told_to_be_none(run: Run, fake: Fake, case: str) -> None:
    sent, message = GARBAGE[case]
    with Scripted(sent) as server:
        ended = run("repo", "look", "a", "--server", server.url, composition=fake)
    assert ended.code == 1
    assert ended.err.startswith("moorage: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_one_that_is_down_or_speaks_no_tls_is_told_so(run: Run, fake: Fake) -> None:
    with Scripted() as server:
        url = server.url
    ended = run("repo", "look", "a", "--server", url, composition=fake)
    assert (ended.code, ended.err) == (1, f"moorage: nothing listens at {url}\n")
    with Scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n", reads=False) as server:
        url = server.url.replace("http:", "https:")
        ended = run("repo", "look", "a", "--server", url, composition=fake)
    assert (ended.code, "does not speak TLS as it should" in ended.err) == (1, True)


def test_silence_has_an_end() -> None:
    began = time.monotonic()
    with Scripted(None) as scripted:
        server = Server(ServerURL.parse(scripted.url), Credentials(), patience_seconds=0.05)
        with pytest.raises(ServerFailed, match=r"has said nothing for 0\.05 s$"):
            list(server.ask("repo/look", {}, changes=False))
    with Scripted(None) as scripted:
        server = Server(ServerURL.parse(scripted.url), Credentials(), patience_seconds=0.05)
        with pytest.raises(ServerFailed, match="Whether it was done is not known: look"):
            list(server.ask("repo/drop", {}, changes=True))
    assert time.monotonic() - began < CONNECT_SECONDS / 2


def test_of_a_change_that_was_never_asked_for_nothing_is_unknown() -> None:
    with Scripted() as scripted:
        url = scripted.url
    with pytest.raises(ServerFailed, match=r"nothing listens at [^ ]+$"):
        list(Server(ServerURL.parse(url), Credentials()).ask("repo/drop", {}, changes=True))


def test_credentials_go_along_as_basic(run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_USERNAME", "älice")
    monkeypatch.setenv("MOORAGE_PASSWORD", "s:ecret")
    with Scripted(lines(RESULT)) as server:
        assert run("repo", "look", "a", "--server", server.url, composition=fake).code == 0
    kind, text = server.requests[0].headers["authorization"].split(" ")
    assert (kind, base64.b64decode(text).decode()) == ("Basic", "älice:s:ecret")


def test_a_password_does_not_go_to_another_machine_in_the_clear(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORAGE_USERNAME", "alice")
    monkeypatch.setenv("MOORAGE_PASSWORD", "canary")
    with Scripted(lines(RESULT), lines(RESULT)) as server:
        # To the system this is loopback; that it is, cannot be told from the name.
        url = f"http://127.1:{server.port}"
        ended = run("repo", "look", "a", "--server", url, composition=fake)
        assert (ended.code, server.requests) == (3, [])
        assert "--plain-http" in ended.err
        assert "canary" not in ended.err
        assert run("repo", "look", "a", "--server", url, "--plain-http", composition=fake).code == 0
        monkeypatch.delenv("MOORAGE_USERNAME")
        monkeypatch.delenv("MOORAGE_PASSWORD")
        assert run("repo", "look", "a", "--server", url, composition=fake).code == 0


def test_who_was_not_let_in_is_told_where_credentials_come_from(run: Run, fake: Fake) -> None:
    document = {"errors": [{"code": "UNAUTHORIZED", "message": "log in"}], "status": "refused"}
    with Scripted(failed(401, document)) as server:
        ended = run("repo", "look", "a", "--server", server.url, composition=fake)
    assert ended.code == 3
    assert "log in (set MOORAGE_USERNAME and MOORAGE_PASSWORD)" in ended.err


def test_who_is_refused_something_is_not_told_to_log_in(run: Run, fake: Fake) -> None:
    document = {"errors": [{"code": "DENIED", "message": "it was purged"}], "status": "refused"}
    with Scripted(failed(403, document)) as server:
        ended = run("repo", "look", "a", "--server", server.url, composition=fake)
    assert (ended.code, ended.err) == (3, "moorage: it was purged\n")


def test_half_of_the_credentials_is_refused(run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_USERNAME", "alice")
    ended = run("repo", "look", "a", "--server", "http://127.0.0.1:1", composition=fake)
    assert (ended.code, "MOORAGE_PASSWORD is not set" in ended.err) == (3, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--server", "registry.example"], "write it with its scheme: https://registry.example"),
        (["--server", "127.0.0.1:5000"], "write it with its scheme: http://127.0.0.1:5000"),
        (["--server", "ftp://registry.example"], "must be http:// or https://"),
        (["--server", "https://"], "must be http:// or https://"),
        (["--server", "https://a..b"], "is no host"),
        (["--server", "https://a:0"], "no address has"),
        (["--server", "https://a:x"], "Port could not be cast"),
        (["--server", "https://a?b=c"], "must be http:// or https://"),
        (["--server", "https://a/ b"], "no address has"),
        (["--server", "https://a/\r\nX: y"], "no address has"),
        (["--server", "https://alice:canary@a"], "a password does not belong there"),
        (["--server", "https://a", "--root", "data"], "--server is the place of the store"),
        (["--server", "https://a", "--config", "c.yaml"], "--server is the place of the store"),
        (["--plain-http"], "--plain-http belongs to --server"),
    ],
    ids=lambda value: " ".join(value).replace("\r\n", " ") if isinstance(value, list) else "",
)
def test_what_is_no_address_is_wrong_usage(run: Run, fake: Fake, words: list[str], message: str) -> None:
    ended = run("repo", "look", "a", *words, composition=fake)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert "canary" not in ended.err


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("http://a", "https://a:5000/x/y", "http://[::1]:5000", "https://registry.example.:1"):
        assert str(ServerURL.parse(text)) == text
    assert str(ServerURL.parse("https://A:443/")) == "https://a"
    assert str(ServerURL.parse("http://a:80")) == "http://a"
    private = [ServerURL.parse(text).is_private for text in ("http://[::1]", "http://localhost", "https://a")]
    assert private == [True] * 3


def test_what_works_on_one_machine_is_not_asked_of_a_server(run: Run, fake: Fake) -> None:
    ended = run("repo", "look", "a", "--crash", "--server", "http://127.0.0.1:1", composition=fake)
    assert (ended.code, ended.err) == (
        3,
        "moorage: --crash works on the machine of the store alone, not through a server\n",
    )
    assert run("access", "test", "a", "--server", "http://127.0.0.1:1", composition=fake).code == 2
    assert "--server" not in run("access", "test", "--help", composition=fake).out


def test_a_secret_comes_from_standard_input(run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("canary\n", "canary\r\n", "canary"):
        monkeypatch.setattr(sys, "stdin", Piped(given))
        with Scripted(lines(RESULT)) as server:
            ended = run(
                "user", "password", "alice", "--password-stdin", "--server", server.url, composition=fake
            )
        assert ended.code == 0
        assert server.requests[0].document == {"name": "alice", "password": "canary"}
        assert "canary" not in ended.out + ended.err


class Piped(Typing):
    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "must not be empty"),
        ("\n", "must not be empty"),
        ("x" * 70_000, "has more than"),
        ("\udcff", "is not UTF-8"),
    ],
    ids=["nothing", "a line break", "too much", "no text"],
)
def test_standard_input_without_a_secret_is_wrong_usage(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(given))
    words = ["alice", "--password-stdin", "--server", "http://127.0.0.1:1"]
    ended = run("user", "password", *words, composition=fake)
    assert (ended.code, message in ended.err) == (2, True)


def test_without_a_terminal_a_secret_is_not_asked_for(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(""))
    ended = run("user", "password", "alice", "--server", "http://127.0.0.1:1", composition=fake)
    assert ended.code == 2
    assert "give it with --password-stdin" in " ".join(ended.err.split())


def test_a_secret_is_no_word_of_a_command(run: Run, fake: Fake) -> None:
    assert run("user", "password", "alice", "--password", "x", composition=fake).code == 2
    assert "--password " not in run("user", "password", "--help", composition=fake).out


def test_at_a_terminal_a_secret_is_asked_for_twice_and_not_shown(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def prompt(text: str, **how: Any) -> str:
        asked.append((text, how))
        return "canary"

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(sys, "stdin", Typing(""))
    with Scripted(lines(RESULT)) as server:
        assert run("user", "password", "alice", "--server", server.url, composition=fake).code == 0
    assert asked == [("Password", {"hide_input": True, "confirmation_prompt": True, "err": True})]
    assert server.requests[0].document["password"] == "canary"


def test_an_answer_of_the_server_is_an_exit_of_its_own() -> None:
    with pytest.raises(BaseException) as raised, told():
        raise Answered("no", Exit.DAMAGED)
    assert getattr(raised.value, "exit_code", None) == 4
