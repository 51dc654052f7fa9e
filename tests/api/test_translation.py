"""What the storage raises, as the protocol says it."""

from __future__ import annotations

import errno

import pytest

from registry.api.errors import translate
from storage.errors import TooLarge
from storage.oserrors import read_error, write_error


@pytest.mark.parametrize("made", [read_error, write_error])
def test_only_a_long_name_is_an_invalid_name(made: object) -> None:
    assert callable(made)
    refused = OSError(errno.ENAMETOOLONG, "File name too long")
    try:
        raise made(refused, "a/b") from refused
    except TooLarge as error:
        assert translate(error).code == "NAME_INVALID"


def test_an_object_that_is_too_large_is_an_error_of_our_own() -> None:
    found = translate(TooLarge("a/b", "the object has 100 bytes, more than the 10 asked for"))
    assert (found.status, found.code) == (500, "UNKNOWN")
