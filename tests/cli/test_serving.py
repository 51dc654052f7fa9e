from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.server import ListenFailed, StartFailed
from tests.cli.conftest import Fake, Run


def test_flags_and_file_reach_the_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("manifests: {max_references: 7}\nworkers: 9\n")
    fake = Fake()
    words = ["--config", "c.yaml", "--listen", "127.0.0.1:1", "--root", "/r", "--workers", "3"]
    ended = run("serve", *words, composition=fake)
    assert ended.code == 0
    (config,) = fake.served
    assert (config.registry.listen, str(config.storage.root), config.workers) == ("127.0.0.1:1", "/r", 3)
    assert config.manifests.max_references == 7


def test_it_says_where_it_listens_where_the_data_lie_and_what_to_try(run: Run, tmp_path: Path) -> None:
    ended = run("serve", "--root", "here", composition=Fake())
    assert "http://127.0.0.1:5000" in ended.err
    assert f"The data lie in {tmp_path / 'here'}" in ended.err
    assert "docker push 127.0.0.1:5000/" in ended.err
    assert ended.out == "", "standard output is the log's"


def test_the_server_s_exit_code_is_ours(run: Run) -> None:
    assert run("serve", composition=Fake(code=1)).code == 1


def test_all_that_is_wrong_with_the_flags_is_told_at_once(run: Run) -> None:
    fake = Fake()
    ended = run("serve", "--listen", "nowhere", "--workers", "none", composition=fake)
    assert ended.code == 2
    assert "--listen: registry.listen = 'nowhere'" in ended.err
    assert "--workers: workers = 'none': must be a whole number" in ended.err
    assert fake.served == []


def test_the_network_without_rules_is_refused_with_the_rules_to_write(run: Run) -> None:
    fake = Fake()
    ended = run("serve", "--listen", ":5000", composition=fake)
    assert ended.code == 3
    assert "- {who: anonymous, repositories: ['**'], may: [pull, push, list]}" in ended.err
    assert fake.served == []


def test_the_network_with_the_printed_rules_is_served(run: Run, tmp_path: Path) -> None:
    refusal = run("serve", "--listen", ":5000").err
    rule, line = (one.strip() for one in refusal.splitlines() if one.startswith("  "))
    (tmp_path / "access.yaml").write_text(rule)
    (tmp_path / "c.yaml").write_text(line.replace("/etc/moorage", str(tmp_path)))
    fake = Fake()
    assert run("serve", "--config", "c.yaml", "--listen", ":5000", composition=fake).code == 0
    assert len(fake.served) == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ListenFailed("port 5000 is taken"), 1),
        (StartFailed("the disk is gone"), 1),
        (StartFailed("the store is a newer program's", refused=True), 3),
    ],
)
def test_what_fails_is_told_in_a_line(run: Run, failure: Exception, code: int) -> None:
    ended = run("serve", composition=Fake(failure=failure))
    assert (ended.code, ended.err) == (code, f"moorage: {failure}\n")


def test_serving_makes_no_table_of_operations(run: Run) -> None:
    fake = Fake()
    run("serve", composition=fake)
    run("version", composition=fake)
    assert fake.tables == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can serve the files of others")
def test_root_is_warned_of_another_s_store(run: Run, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    os.chown(tmp_path / "docker", 65_000, 65_000)
    ended = run("serve", "--root", str(tmp_path), composition=Fake())
    assert ended.code == 0
    assert "moorage: warning: " in ended.err
    assert f"sudo -u '#65000' moorage serve --root {tmp_path}" in ended.err
    assert "warning" not in run("serve", "--root", "mine", composition=Fake()).err
