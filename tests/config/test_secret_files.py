from __future__ import annotations

from pathlib import Path

import pytest

from registry.config import ConfigError
from registry.config.loading import merge
from registry.settings import Document, Secret, Settings, read_document

PASSWORD = "hunter" + "2"


class Remote(Settings):
    password: Secret | None = None


class Tree(Settings):
    remote: Remote = Remote()


def document(text: str) -> Document:
    return read_document(text.encode(), "f")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def test_a_secret_is_read_from_the_file_that_the_file_names(secret_file: Path) -> None:
    resolved = merge(Tree, document(f"remote:\n  password_file: {secret_file}\n"), {}, {})
    assert resolved.config.remote.password == Secret(PASSWORD)
    assert str(resolved.sources["remote.password"]) == "f:2"


def test_a_secret_is_read_from_the_file_that_a_variable_names(secret_file: Path) -> None:
    resolved = merge(Tree, None, {"MOORAGE_REMOTE_PASSWORD_FILE": str(secret_file)}, {})
    assert resolved.config.remote.password == Secret(PASSWORD)
    assert str(resolved.sources["remote.password"]) == "MOORAGE_REMOTE_PASSWORD_FILE"


def test_a_secret_and_its_file_exclude_each_other(secret_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"remote\.password is set too") as raised:
        merge(Tree, document(f"remote: {{password: {PASSWORD}, password_file: {secret_file}}}"), {}, {})
    assert PASSWORD not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.*cannot be read: No such file"):
        merge(Tree, document(f"remote: {{password_file: {tmp_path / 'absent'}}}"), {}, {})


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        merge(Tree, document(f"remote: {{password: [{PASSWORD}]}}"), {}, {})
    assert "remote.password = [hidden]" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_the_file_of_a_secret_is_a_known_name() -> None:
    with pytest.raises(ConfigError, match=r"did you mean remote\.password_file"):
        merge(Tree, document("remote: {password_fil: x}"), {}, {})
