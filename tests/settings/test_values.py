from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.settings import Duration, Secret, Settings, Size
from registry.settings.values import exact_size


class Example(Settings):
    size: Size = 1
    duration: Duration = timedelta(0)
    password: Secret | None = None


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_size_reads_back_as_it_was(size: int) -> None:
    written = Example(size=size).model_dump(mode="json")["size"]
    assert Example.model_validate({"size": written}).size == size


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_reads_back_as_it_was(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    written = Example(duration=duration).model_dump(mode="json")["duration"]
    assert Example.model_validate({"duration": written}).duration == duration


@pytest.mark.parametrize("text", ["4G", "4", "4 gigs", "-1MiB", ""])
def test_a_size_needs_a_unit_that_is_not_in_doubt(text: str) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"size": text})


@pytest.mark.parametrize("text", ["7", "7x", "-1s", ""])
def test_a_duration_needs_a_unit(text: str) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"duration": text})


def test_sizes_are_written_in_the_largest_unit_that_fits_exactly() -> None:
    assert [exact_size(one) for one in (0, 1, 1024, 4 << 20, (4 << 20) + 1)] == [
        "0B",
        "1B",
        "1KiB",
        "4MiB",
        "4194305B",
    ]


def test_a_secret_is_kept_and_does_not_print() -> None:
    example = Example.model_validate({"password": "hunter2"})
    assert example.password is not None
    assert example.password.reveal() == "hunter2"
    told = f"{example} {example!r} {example.model_dump_json()} {example.password}"
    assert "hunter2" not in told
    assert pickle.loads(pickle.dumps(example)) == example


def test_an_empty_secret_is_none() -> None:
    with pytest.raises(ValidationError) as raised:
        Example.model_validate({"password": ""})
    assert "hunter2" not in str(raised.value)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Example().size = 2
