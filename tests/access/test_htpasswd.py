"""People in an htpasswd file: who is taken, who is not, and what is said of a file that is no good."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.access.htpasswd import MAXIMUM_BYTES, MOST_NAMES, Htpasswd, HtpasswdError
from registry.access.passwords import Passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(cost=4, at_once=2)
    yield made
    made.close()


def line(name: str, password: str, *, kind: str = "2y", cost: int = 4) -> str:
    """A line as `htpasswd -B` writes it, which cuts what is too long."""
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()
    return f"{name}:{hashed.replace('$2b$', f'${kind}$', 1)}\n"


def replace(path: Path, text: str) -> Path:
    beside = path.with_name("beside")
    beside.write_text(text)
    os.replace(beside, path)
    return path


def problems(path: Path, passwords: Passwords) -> list[str]:
    with pytest.raises(HtpasswdError) as raised:
        Htpasswd(path, passwords)
    return [str(one).replace(f"{path}:", "line ") for one in raised.value.problems]


@pytest.mark.parametrize("kind", ["2a", "2b", "2y"])
@pytest.mark.parametrize("name", ["alice", "Alice B", "ünal", "a@b.example", "x" * 256])
async def test_who_has_the_password_is_taken(
    tmp_path: Path, passwords: Passwords, kind: str, name: str
) -> None:
    password = secrets.token_urlsafe()
    path = replace(tmp_path / "people", f"# ours\n\n{line('other', 'x')}{line(name, password, kind=kind)}")
    people = Htpasswd(path, passwords)
    person = await people.verify(name, password)
    assert person is not None and person == await people.find(name)
    assert person.principal.text == f"htpasswd:{name}" and person.principal.groups == frozenset()
    assert person.enabled
    for wrong in (password + "x", "", "x"):
        assert await people.verify(name, wrong) is None


async def test_files_of_windows_and_without_a_last_newline_are_read(
    tmp_path: Path, passwords: Passwords
) -> None:
    text = "\ufeff" + line("alice", "a").replace("\n", "\r\n") + " \r\n" + line("bob", "b").removesuffix("\n")
    people = Htpasswd(replace(tmp_path / "people", text), passwords)
    assert await people.verify("alice", "a") and await people.verify("bob", "b")


async def test_a_long_password_is_cut_where_apache_cuts_it(tmp_path: Path, passwords: Passwords) -> None:
    password = "ä" * 40
    people = Htpasswd(replace(tmp_path / "people", line("alice", password)), passwords)
    assert await people.verify("alice", password)
    assert await people.verify("alice", "ä" * 36)
    assert await people.verify("alice", "ä" * 36 + "anything")
    assert await people.verify("alice", "ä" * 35) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "bob", " alice", "alice ", "alice\x00", "\x00", "al:ice", "alice\n", "#", "*"),
        pytest.param("a" * 10_000, id="10 kB"),
        "\udc80",
    ],
)
async def test_other_names_are_nobody(tmp_path: Path, passwords: Passwords, name: str) -> None:
    people = Htpasswd(replace(tmp_path / "people", line("alice", "a")), passwords)
    assert await people.find(name) is None
    assert await people.verify(name, "a") is None


async def test_a_comment_names_nobody(tmp_path: Path, passwords: Passwords) -> None:
    people = Htpasswd(replace(tmp_path / "people", "# nobody yet\n"), passwords)
    assert await people.verify("alice", "a") is None


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"], ids=ascii)
async def test_an_empty_file_is_one_that_is_being_written(
    tmp_path: Path, passwords: Passwords, text: str
) -> None:
    path = replace(tmp_path / "people", line("alice", "a"))
    people = Htpasswd(path, passwords)
    path.write_text(text)
    people.look()
    assert await people.verify("alice", "a")
    (told,) = problems(path, passwords)
    assert "the file is empty; a comment (#) says that nobody is meant" in told


async def test_it_takes_as_long_whoever_it_is(
    tmp_path: Path, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[int] = []
    real = bcrypt.checkpw

    def checked(password: bytes, hashed: bytes) -> bool:
        spent.append(2 ** int(hashed[4:6]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checked)
    text = line("easy", "p") + line("middle", "p", cost=5) + line("hard", "p", cost=7)
    people = Htpasswd(replace(tmp_path / "people", text), passwords)
    for name in ("easy", "middle", "hard", "nobody"):
        for password in ("p", "wrong"):
            spent.clear()
            person = await people.verify(name, password)
            assert (person is not None) is (name != "nobody" and password == "p")
            assert sum(spent) == 2**7, name


async def test_the_stamp_changes_with_the_password_alone(tmp_path: Path, passwords: Passwords) -> None:
    before = line("alice", "a")
    path = replace(tmp_path / "people", before)
    people = Htpasswd(path, passwords)
    first = await people.find("alice")
    replace(path, line("bob", "b") + before)
    people.look()
    assert await people.find("alice") == first
    replace(path, line("alice", "new"))
    people.look()
    second = await people.find("alice")
    assert first is not None and second is not None and first.stamp != second.stamp
    assert await people.verify("alice", "a") is None
    assert await people.verify("alice", "new") == second
    assert await people.find("bob") is None


@pytest.mark.parametrize("cut", [1, 2, 40, 61])
async def test_a_half_written_file_leaves_those_who_were_there(
    tmp_path: Path, passwords: Passwords, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Written in place, and looked at in the middle of it: the last line is not whole."""
    path = replace(tmp_path / "people", line("alice", "a") + line("bob", "b"))
    people = Htpasswd(path, passwords)
    text = line("carol", "c") + line("bob", "b")
    path.write_text(text[: -1 - cut])
    people.look()
    assert await people.verify("alice", "a")
    assert await people.find("carol") is None
    (refusal,) = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
    assert f"{path}:2: " in refusal["reason"]
    path.write_text(text)
    people.look()
    assert await people.verify("carol", "c") and await people.find("alice") is None


def test_everything_that_is_wrong_is_told_with_its_line_and_no_hash(
    tmp_path: Path, passwords: Passwords
) -> None:
    canary = secrets.token_hex(11)
    good = line("alice", "a")
    text = "\n".join(
        [
            good.strip(),
            f"bob:$apr1$x$ {canary}",
            f"bob:{{SHA}}{canary}",
            f"bob:$6${canary}",
            f"bob:{canary[:13]}",
            f"bob:{canary}",
            canary,
            f":{canary}",
            good.strip(),
            f"bob:{good.strip().partition(':')[2]}:{canary}",
            f"bob:{good.strip()[len('alice:') :].replace('$04$', '$15$')}",
            f"bob:{good.strip()[len('alice:') :].replace('$04$', '$03$')}",
            f"bo\x07b:{canary}",
            f" bob:{canary}",
        ]
    )
    told = problems(replace(tmp_path / "people", text), passwords)
    assert canary not in str(told) and canary[:13] not in str(told)
    assert good.strip().partition("$")[2] not in str(told)
    assert [one.partition(": ")[0] for one in told] == [f"line {number}" for number in range(2, 15)]
    assert all("not bcrypt's" in one for one in told[:4])
    assert "no whole bcrypt hash" in told[4]
    assert "no colon" in told[5]
    assert "the name is empty" in told[6]
    assert told[7] == "line 9: 'alice' is named on line 1 already"
    assert "no whole bcrypt hash" in told[8]
    assert "the work factor of the hash is 15; 4 to 14 are taken" in told[9]


def test_many_mistakes_are_not_all_told(tmp_path: Path, passwords: Passwords) -> None:
    told = problems(replace(tmp_path / "people", "x\n" * 1000), passwords)
    assert len(told) == 21
    assert told[-1] == "line 21: and 980 lines more are no good"


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, passwords: Passwords) -> None:
    path = tmp_path / "people"
    (told,) = problems(path, passwords)
    assert "cannot be read: No such file" in told
    path.write_bytes(line("alice", "a").encode() + b"\nb\xff:x\n")
    assert problems(path, passwords) == ["line 3: the file is not UTF-8"]


def test_a_file_is_bounded_in_size_and_number(tmp_path: Path, passwords: Passwords) -> None:
    hashed = line("", "a").strip()
    many = "".join(f"u{number}{hashed}\n" for number in range(MOST_NAMES + 1))
    path = replace(tmp_path / "people", many)
    (told,) = problems(path, passwords)
    assert f"names {MOST_NAMES + 1} people" in told
    replace(path, "#" * (MAXIMUM_BYTES + 1))
    (told,) = problems(path, passwords)
    assert "larger than 1 MiB" in told
    replace(path, many.strip().rpartition("\n")[0])
    Htpasswd(path, passwords)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=200) | st.text(st.sampled_from("alice:$2y04.\n\r#\x00 é"), max_size=90))
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path: Path, passwords: Passwords, data: bytes | str
) -> None:
    path = tmp_path / "people"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    try:
        Htpasswd(path, passwords)
    except HtpasswdError as error:
        assert error.problems


async def test_a_name_may_be_typed_in_any_case_unless_the_file_has_it_so_for_another(
    tmp_path: Path, passwords: Passwords
) -> None:
    path = replace(tmp_path / "people", "".join(line(name, name) for name in ("Bob", "bob", "Carol")))
    people = Htpasswd(path, passwords)
    for name, who in (("Bob", "Bob"), ("bob", "bob"), ("BOB", "Bob"), ("carol", "Carol")):
        person = await people.verify(name, who)
        assert person is not None and person == await people.find(name)
        assert person.principal.text == f"htpasswd:{who}"
    assert await people.verify("bob", "Bob") is None
