from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.cli.exits import Refused
from registry.cli.ownership import require_owner

WORDS = ["repo", "delete", "a b"]
STRANGER = 65_000


def test_the_owner_of_the_files_may(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    require_owner(tmp_path, os.geteuid(), WORDS)


def test_another_may_not_and_is_told_the_line_to_type(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    with pytest.raises(Refused) as raised:
        require_owner(tmp_path, STRANGER, WORDS)
    assert "sudo -u " in str(raised.value)
    assert "moorage repo delete 'a b'" in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_an_empty_or_missing_root_is_nobody_s_yet(tmp_path: Path) -> None:
    require_owner(tmp_path, STRANGER, WORDS)
    require_owner(tmp_path / "absent", STRANGER, WORDS)
    (tmp_path / "file").touch()
    require_owner(tmp_path / "file" / "below", STRANGER, WORDS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_user_without_a_name_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    os.chown(tmp_path / "docker", STRANGER, STRANGER)
    with pytest.raises(Refused, match=rf"sudo -u '#{STRANGER}' "):
        require_owner(tmp_path, 0, WORDS)
    # Whoever owns the files may, whoever owns the directory they lie in: a volume often is root's.
    require_owner(tmp_path, STRANGER, WORDS)
