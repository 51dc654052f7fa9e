# ruff: noqa: RUF009 (argument() and option() make dataclass fields)
"""The operations API on a table of its own making."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from registry.access.callers import Caller, Grants
from registry.access.principals import Principal
from registry.errors import Denied, NameUnknown, ReadOnly, RegistryError, StorageDamaged
from registry.model.names import RepositoryName
from registry.server.application import ClientGone
from registry.work.operations import Context, Operation, Progress, Result, Status, Touched, argument, option
from storage.errors import OutOfSpace, Unavailable
from tests.operations.asking import JSON, LINES, Client, KnownNames, api, place, policy_of

Steps = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Input:
    repository: RepositoryName = argument("the repository")
    password: str = option("a password", secret=True)
    state: Literal["on", "off"] = option("which", default="on")
    limit: int | None = option("at most so many", default=None)
    names: tuple[RepositoryName, ...] = option("more", default=())
    here: bool = option("only on this machine", default=False, local=True)


@dataclass(frozen=True, slots=True)
class Output:
    names: list[str]
    dry_run: bool


@dataclass
class Journal:
    """What an operation was asked, and what it waits for between two steps."""

    asked: list[tuple[Any, Context]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    finished: bool = False
    error: Exception | None = None
    first: bool = True
    note: str = "a note"
    status: Status = Status.DONE


def operation(
    journal: Journal, *, name: str = "noun.the-verb", deletes: bool = False, waits: bool = False, **more: Any
) -> Operation[Any]:
    async def run(asked: Input, context: Context) -> Steps:
        journal.asked.append((asked, context))
        try:
            if journal.first:
                yield Progress(1, 3, "items", "looking")
            if waits:
                await journal.gate.wait()
            if journal.error is not None:
                raise journal.error
            journal.finished = True
            yield Result(Output([str(asked.repository)], context.dry_run), journal.status, journal.note)
        finally:
            journal.ended.set()

    return Operation(
        name,
        "Do it",
        "pull",
        deletes,
        Input,
        run,
        touches=lambda asked: (asked.repository, None),
        result=Output,
        **more,
    )


GOOD: dict[str, object] = {"repository": "a/b", "password": "x"}
VERB = "noun.the-verb"


async def test_an_operation_is_done_and_its_result_is_json() -> None:
    journal = Journal()
    answer = await Client(api([operation(journal)])).do(VERB, **GOOD, state="off", limit=3, names=["c", "d"])
    assert (answer.status, answer.json()) == (
        200,
        {"status": "done", "result": {"names": ["a/b"], "dry_run": False}, "note": "a note"},
    )
    asked, context = journal.asked[0]
    assert asked == Input(
        RepositoryName("a/b"),
        password="x",
        state="off",
        limit=3,
        names=(RepositoryName("c"), RepositoryName("d")),
    )
    assert isinstance(asked.names[0], RepositoryName)
    assert (context.by, context.dry_run) == ("anonymous", False)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert journal.ended.is_set()


async def test_progress_comes_as_lines_for_who_asks_for_lines() -> None:
    answer = await Client(api([operation(Journal())])).do(VERB, [LINES], **GOOD)
    assert answer.status == 200
    assert answer.lines() == [
        {"progress": {"done": 1, "total": 3, "unit": "items", "text": "looking"}},
        {"status": "done", "result": {"names": ["a/b"], "dry_run": False}, "note": "a note"},
    ]
    assert len(answer.pieces) == 2


async def test_the_status_of_a_result_is_told_in_the_result() -> None:
    for status in Status:
        journal = Journal(status=status)
        answer = await Client(api([operation(journal)])).do(VERB, **GOOD)
        assert (answer.status, answer.json()["status"]) == (200, status.value)


@pytest.mark.parametrize("lines", [[], [LINES]], ids=["json", "lines"])
async def test_an_error_before_any_progress_has_its_status(lines: list[tuple[str, str]]) -> None:
    wanted: list[tuple[Exception, int, str, str]] = [
        (NameUnknown("there is no a/b"), 404, "NAME_UNKNOWN", "failed"),
        (Denied("not you"), 403, "DENIED", "refused"),
        (ReadOnly(), 503, "UNAVAILABLE", "refused"),
        (StorageDamaged(), 500, "UNKNOWN", "damaged"),
        (OutOfSpace("k", "full"), 507, "UNAVAILABLE", "failed"),
        (Unavailable("k", "no answer"), 503, "UNAVAILABLE", "failed"),
        (RuntimeError("a defect"), 500, "UNKNOWN", "failed"),
    ]
    for error, status, code, ended in wanted:
        journal = Journal(error=error, first=False)
        answer = await Client(api([operation(journal)])).do(VERB, lines, **GOOD)
        assert (answer.status, answer.errors[0][0], answer.json()["status"]) == (status, code, ended)
        assert "a defect" not in answer.body.decode()


async def test_an_error_behind_progress_is_the_last_line() -> None:
    journal = Journal(error=NameUnknown("there is no a/b"))
    answer = await Client(api([operation(journal)])).do(VERB, [LINES], **GOOD)
    first, last = answer.lines()
    assert "progress" in first
    assert last == {"errors": [{"code": "NAME_UNKNOWN", "message": "there is no a/b"}], "status": "failed"}


WRONG: dict[str, tuple[dict[str, object], list[str]]] = {
    "nothing": ({}, ["password: this field is required", "repository: this field is required"]),
    "everything": (
        {
            "repository": "A",
            "password": 7,
            "state": "up",
            "limt": 1,
            "limit": 1.5,
            "names": ["x", "Y"],
            "hear": 1,
        },
        [
            "hear: there is no field 'hear'",
            "limit: must be a whole number",
            "limt: there is no field 'limt'; did you mean limit?",
            "names: a repository name is made of",
            "password: must be a text",
            "repository: a repository name is made of",
            "state: must be one of on, off",
        ],
    ),
    "truth values": (
        {"repository": True, "password": False, "limit": True},
        ["limit: must be a whole number", "password: must be a text", "repository: must be a text"],
    ),
    "null": ({**GOOD, "repository": None, "limit": None}, ["repository: must be a text"]),
    "an empty secret": ({**GOOD, "password": ""}, ["password: must not be empty"]),
    "no list": ({**GOOD, "names": "c"}, ["names: must be a list"]),
    "a local field": ({**GOOD, "here": True}, ["here: this is done on the machine of the store only"]),
    "a dry run of what removes nothing": (
        {**GOOD, "dry_run": True},
        ["dry_run: there is no field 'dry_run'"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_all_that_is_wrong_with_an_input_is_told_at_once(case: str) -> None:
    document, wanted = WRONG[case]
    journal = Journal()
    answer = await Client(api([operation(journal)])).do(VERB, **document)
    assert answer.status == 400
    told = sorted(message for _, message in answer.errors)
    assert len(told) == len(wanted)
    assert all(message.startswith(begin) for message, begin in zip(told, wanted, strict=True)), told
    assert {code for code, _ in answer.errors} == {"INPUT_INVALID"}
    assert {one["detail"]["field"] for one in answer.json()["errors"]} == {
        one.partition(":")[0] for one in wanted
    }
    assert journal.asked == []


BAD_BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "twice": b'{"repository":"a","repository":"b"}',
    "not UTF-8": b'{"repository":"\xff"}',
    "NaN": b'{"limit":NaN}',
    "deep": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "half a surrogate": b'{"repository":"a","password":"\\ud800"}',
    "a number without end": b'{"limit":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_what_is_no_object_in_json_is_told_to_be_none(case: str) -> None:
    answer = await Client(api([operation(Journal())])).ask("POST", place(VERB), [JSON], BAD_BODIES[case])
    assert (answer.status, [code for code, _ in answer.errors]) == (400, ["INPUT_INVALID"])
    assert "manifest" not in answer.body.decode()


async def test_an_input_has_a_largest_size() -> None:
    body = json.dumps({**GOOD, "password": "x" * (256 << 10)}).encode()
    answer = await Client(api([operation(Journal())])).ask("POST", place(VERB), [JSON], body)
    assert (answer.status, answer.errors[0][0]) == (413, "INPUT_INVALID")


@pytest.mark.parametrize(
    "told",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"],
)
async def test_only_json_is_taken(told: str | None) -> None:
    journal = Journal()
    headers = [] if told is None else [("content-type", told)]
    answer = await Client(api([operation(journal)])).ask(
        "POST", place(VERB), headers, json.dumps(GOOD).encode()
    )
    assert (answer.status, answer.errors[0][0]) == (415, "INPUT_INVALID")
    assert journal.asked == []


async def test_a_charset_behind_the_type_does_no_harm() -> None:
    headers = [("content-type", "Application/JSON; charset=utf-8")]
    answer = await Client(api([operation(Journal())])).ask(
        "POST", place(VERB), headers, json.dumps(GOOD).encode()
    )
    assert answer.status == 200


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "GET"])
async def test_a_web_page_is_turned_away(method: str) -> None:
    journal = Journal()
    headers = [JSON, ("origin", "https://registry.example")]
    for path in (place(VERB), "/api/v1/"):
        answer = await Client(api([operation(journal)])).ask(method, path, headers, json.dumps(GOOD).encode())
        assert (answer.status, answer.errors[0][0]) == (403, "DENIED")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert journal.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/noun/the-verb", 405, "UNSUPPORTED"),
        ("HEAD", "/api/v1/noun/the-verb", 405, "UNSUPPORTED"),
        ("DELETE", "/api/v1/noun/the-verb", 405, "UNSUPPORTED"),
        ("POST", "/api/v1/", 405, "UNSUPPORTED"),
        ("POST", "/api/v1/openapi.json", 405, "UNSUPPORTED"),
        ("POST", "/api/v1/noun/the-verb/", 404, "NOT_FOUND"),
        ("POST", "/api/v1/noun/other", 404, "NOT_FOUND"),
        ("POST", "/api/v1/noun", 404, "NOT_FOUND"),
        ("POST", "/api/v1/noun/the-verb?limit=3", 400, "INPUT_INVALID"),
    ],
)
async def test_what_is_not_there_is_told_in_json(method: str, path: str, status: int, code: str) -> None:
    journal = Journal()
    answer = await Client(api([operation(journal)])).ask(method, path, [JSON], json.dumps(GOOD).encode())
    assert (answer.status, answer.errors[0][0]) == (status, code)
    assert (status == 405) == ("allow" in answer.headers)
    assert journal.asked == []


async def test_an_operation_for_one_machine_is_not_offered() -> None:
    client = Client(api([operation(Journal(), local=True)]))
    assert (await client.do(VERB, **GOOD)).status == 404
    assert (await client.ask("GET", "/api/v1/")).json()["operations"] == []


async def test_what_there_is_is_listed_where_clients_reach_it() -> None:
    client = Client(api([operation(Journal(), deletes=True)], url="https://registry.example/prefix"))
    for path in ("/api/v1/", "/api/v1"):
        listed = (await client.ask("GET", path)).json()
        assert listed == {
            "operations": [
                {
                    "name": VERB,
                    "path": "/prefix/api/v1/noun/the-verb",
                    "summary": "Do it",
                    "right": "pull",
                    "deletes": True,
                }
            ],
            "openapi": "/prefix/api/v1/openapi.json",
        }


async def test_a_dry_run_is_for_what_deletes() -> None:
    journal = Journal()
    client = Client(api([operation(journal, deletes=True)]))
    for dry_run in (True, False):
        assert (await client.do(VERB, **GOOD, dry_run=dry_run)).json()["result"]["dry_run"] is dry_run
    assert [context.dry_run for _, context in journal.asked] == [True, False]
    answer = await client.do(VERB, **GOOD, dry_run="no")
    assert (answer.status, answer.errors) == (400, [("INPUT_INVALID", "dry_run: must be true or false")])


RULES = """
- {who: anonymous, repositories: ['public/**'], may: [pull, list]}
- {who: 'user:alice', repositories: ['a/**'], may: [pull]}
"""


async def test_the_rules_decide_before_anything_happens(tmp_path: Path) -> None:
    journal = Journal()
    client = Client(
        api(
            [operation(journal)],
            gate=KnownNames(policy_of(RULES, tmp_path)),
            url="https://registry.example/prefix",
        )
    )
    alice = [("authorization", "user:alice")]
    assert (await client.do(VERB, alice, **GOOD)).status == 200
    assert journal.asked.pop()[1].by == "user:alice"
    refused = await client.do(VERB, alice, **{**GOOD, "repository": "b"})
    assert (refused.status, refused.json()["status"]) == (403, "refused")
    assert refused.errors == [("DENIED", "no access rule grants user:alice to pull from b")]
    assert (await client.do(VERB, **{**GOOD, "repository": "public/x"})).status == 200
    journal.asked.clear()
    nobody = await client.do(VERB, **GOOD)
    assert (nobody.status, nobody.errors[0][0]) == (401, "UNAUTHORIZED")
    assert nobody.headers["www-authenticate"].endswith(',scope="repository:a/b:pull"')
    wrong = await client.do(VERB, [("authorization", "mallory")], **GOOD)
    assert (wrong.status, wrong.errors[0][0]) == (401, "UNAUTHORIZED")
    assert journal.asked == []


async def test_who_must_log_in_is_told_so_by_the_list_too(tmp_path: Path) -> None:
    client = Client(api([operation(Journal())], gate=KnownNames(policy_of(RULES, tmp_path))))
    for path in ("/api/v1/", "/api/v1/openapi.json"):
        assert (await client.ask("GET", path)).status == 401
        assert (await client.ask("GET", path, [("authorization", "user:alice")])).status == 200


async def test_what_an_operation_may_touch_is_for_rules_and_token_to_say(tmp_path: Path) -> None:
    policy = policy_of("- {who: 'user:alice', repositories: ['a/**', 'c'], may: [pull, list]}", tmp_path)
    grants = Grants({"a/b": frozenset({"pull"})}, frozenset({"catalog"}))
    people = {"token": Caller(Principal("user:alice"), policy, grants)}
    answers: dict[str, list[bool]] = {}

    def asking(right: str) -> Operation[Any]:
        async def run(_: Nothing, context: Context) -> Steps:
            answers[right] = [context.may("pull", RepositoryName(name), None) for name in ("a/b", "c", "d")]
            yield Result(Output([], False))

        def touched(_: Nothing) -> Touched:
            return (None if right == "list" else RepositoryName("a/b")), None

        return Operation(f"noun.{right}", "Ask", right, False, Nothing, run, touches=touched, result=Output)

    client = Client(api([asking("list"), asking("pull")], gate=KnownNames(policy, people)))
    for right in ("list", "pull"):
        assert (await client.do(f"noun.{right}", [("authorization", "token")])).status == 200
    # As the catalog: a token is good for the list as a whole, and the rules say what is in it.
    assert answers == {"list": [True, True, False], "pull": [True, False, False]}


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


async def test_a_quiet_operation_is_told_to_go_on() -> None:
    journal = Journal()
    client = Client(api([operation(journal, waits=True)], beat_seconds=0.01))
    asking = asyncio.create_task(client.do(VERB, [LINES], **GOOD))
    while len(client.answer.pieces) < 4:
        await asyncio.sleep(0)
    journal.gate.set()
    lines = (await asking).lines()
    assert len(lines) > 4
    assert all(line == lines[0] for line in lines[:-1])
    assert lines[-1]["status"] == "done"


async def test_even_one_that_has_said_nothing_yet() -> None:
    journal = Journal(first=False)
    client = Client(api([operation(journal, waits=True)], beat_seconds=0.01))
    asking = asyncio.create_task(client.do(VERB, [LINES], **GOOD))
    while not client.answer.pieces:
        await asyncio.sleep(0)
    journal.gate.set()
    assert (await asking).lines()[0] == {"progress": {"done": 0, "total": None, "unit": "items", "text": ""}}


@pytest.mark.parametrize("lines", [[], [LINES]], ids=["json", "lines"])
async def test_a_look_ends_when_its_client_has_left(lines: list[tuple[str, str]]) -> None:
    journal = Journal()
    client = Client(api([operation(journal, waits=True)]))
    asking = asyncio.create_task(client.do(VERB, lines, **GOOD))
    while not journal.asked:
        await asyncio.sleep(0)
    client.left.set()
    with pytest.raises(ConnectionError):
        await asking
    assert journal.ended.is_set()
    assert not journal.finished


@pytest.mark.parametrize("lines", [[], [LINES]], ids=["json", "lines"])
async def test_a_change_is_made_to_its_end_whoever_has_left(lines: list[tuple[str, str]]) -> None:
    journal = Journal()
    client = Client(api([operation(journal, waits=True, changes=True)], beat_seconds=0.01))
    asking = asyncio.create_task(client.do(VERB, lines, **GOOD))
    while not journal.asked:
        await asyncio.sleep(0)
    client.left.set()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not journal.ended.is_set()
    journal.gate.set()
    with pytest.raises(ConnectionError):
        await asking
    assert journal.finished


async def test_a_shutdown_ends_a_change_and_waits_for_its_clean_up() -> None:
    journal = Journal()
    client = Client(api([operation(journal, waits=True, changes=True)]))
    asking = asyncio.create_task(client.do(VERB, **GOOD))
    while not journal.asked:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert journal.ended.is_set()


async def test_a_process_does_so_many_at_once_and_no_more() -> None:
    journal = Journal()
    app = api([operation(journal, waits=True)])
    running = [asyncio.create_task(Client(app).do(VERB, **GOOD)) for _ in range(16)]
    while len(journal.asked) < 16:
        await asyncio.sleep(0)
    answer = await Client(app).do(VERB, **GOOD)
    assert (answer.status, answer.errors[0][0]) == (429, "TOOMANYREQUESTS")
    assert answer.headers["retry-after"] == "5"
    journal.gate.set()
    assert {one.status for one in await asyncio.gather(*running)} == {200}
    assert (await Client(app).do(VERB, **GOOD)).status == 200


@pytest.mark.parametrize("lines", [[], [LINES]], ids=["whole", "lines"])
@pytest.mark.parametrize("error", [None, RegistryError("x" * 700_000)], ids=["result", "error"])
async def test_what_many_are_slow_to_read_is_refused_beyond_a_bound_unless_it_was_done(
    lines: list[tuple[str, str]], error: RegistryError | None
) -> None:
    large = Journal(first=False, error=error, note="x" * 700_000)
    change = Journal(first=False, error=error, note="y" * 700_000)
    app = api([operation(large), operation(change, name="noun.change", changes=True)])
    slow = Client(app)
    slow.reads.clear()
    reading = asyncio.create_task(slow.do(VERB, lines, **GOOD))
    while not slow.answer.status:
        await asyncio.sleep(0)
    refused = await Client(app).do(VERB, lines, **GOOD)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "large answers that clients are reading" in refused.errors[0][1]
    changed = await Client(app).do("noun.change", lines, **GOOD)
    assert changed.status == (200 if error is None else 503)
    # Whoever leaves makes room, too.
    slow.left.set()
    slow.reads.set()
    with contextlib.suppress(ClientGone):
        await reading
    for _ in range(3):
        assert (await Client(app).do(VERB, lines, **GOOD)).status == (200 if error is None else 500)


def test_a_secret_does_not_show() -> None:
    assert "canary" not in repr(Input(RepositoryName("a"), password="canary"))


async def test_a_secret_is_in_no_answer_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-3f1c"
    journals = [Journal(error=RuntimeError("a defect")), Journal(error=RegistryError()), Journal()]
    for journal in journals:
        client = Client(api([operation(journal)]))
        for wrong in ({}, {"limit": "x"}, {"state": 1}, {"password": [canary]}, {"pasword": canary}):
            answer = await client.do(VERB, **{**GOOD, "password": canary, **wrong})
            assert canary not in answer.body.decode()
    assert "request.failed" in caplog.text
    assert canary not in caplog.text
    assert canary not in str([record.__dict__ for record in caplog.records])
