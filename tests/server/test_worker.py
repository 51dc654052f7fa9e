"""What a worker makes of what its parent says."""

from __future__ import annotations

import pytest

from registry.server.process import Ending
from registry.server.worker import HURRY, RETIRE, STOP, obey

WORDS = {
    RETIRE: (True, False, False),
    RETIRE + RETIRE: (True, False, False),
    STOP: (False, True, False),
    RETIRE + RETIRE + STOP + RETIRE: (True, True, False),
    RETIRE + HURRY: (True, True, True),
    b"?": (False, True, False),  # of another version
    b"": (False, True, False),
}


@pytest.mark.parametrize("said", WORDS)
async def test_who_hears_several_words_at_once_obeys_all(said: bytes) -> None:
    """Who was to go on beside others at the same sockets must not forget it for a later word."""
    ending = Ending()
    obey(ending, said)
    assert ending.gently.is_set()
    assert (ending.replaced, ending.told.is_set(), ending.hurried.is_set()) == WORDS[said]
