"""What can be wrong with where the bytes are to lie."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.config import ConfigError, check


def problems(folder: Path, storage: dict[str, Any], **access: Any) -> list[str]:
    """What is told of a configuration."""
    file = folder / "c.yaml"
    file.write_text(json.dumps({"storage": storage, "access": {"seal": "none", **access}}))
    try:
        check(file, {}, {})
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_bucket_is_enough(tmp_path: Path) -> None:
    assert problems(tmp_path, {"driver": "s3", "s3": {"bucket": "registry"}}) == []


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ({"driver": "s3"}, "needs a section s3 that names its bucket"),
        ({"driver": "s3", "s3": {}}, "storage.s3.bucket"),
        ({"driver": "s3", "root": "data", "s3": {"bucket": "registry"}}, "name one of the two"),
        ({"driver": "s3", "s3": {"bucket": "registry", "prefix": "/a/"}}, "no / at either end"),
        ({"driver": "s3", "s3": {"bucket": "registry", "endpoint": "store.example"}}, "must be https://HOST"),
        ({"driver": "s3", "s3": {"bucket": "registry", "access_key_file": "x"}}, "belong together"),
        ({"driver": "s3", "s3": {"bucket": "registry", "kms_key_id": "x"}}, "belongs to encryption: aws:kms"),
        ({"driver": "s3", "s3": {"bucket": "registry", "part_bytes": "4MiB"}}, "storage.s3.part_bytes"),
        ({"driver": "s3", "s3": {"bucket": "registry", "part_bytes": "1GiB"}}, "must hold a part"),
        ({"driver": "s3", "s3": {"bucket": "registry", "ca_file": "none.pem"}}, "the file cannot be read"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, storage: dict[str, Any], told: str) -> None:
    (found,) = problems(tmp_path, storage)
    assert told in found


def test_secrets_in_a_bucket_are_sealed_or_it_is_written_down_that_they_are_not(tmp_path: Path) -> None:
    storage = {"driver": "s3", "s3": {"bucket": "registry"}}
    (found,) = problems(tmp_path, storage, seal=None)
    assert "access.seal_key_file" in found
    assert "access.seal: none" in found
    assert problems(tmp_path, {}, seal=None) == []


def test_without_its_library_a_bucket_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    (found,) = problems(tmp_path, {"driver": "s3", "s3": {"bucket": "registry"}})
    assert "boto3 is needed for that, and is not installed" in found
    assert "requirements/s3.txt" in found
