"""The allocator's thresholds."""

from __future__ import annotations

import ctypes
import sys

import pytest

from registry.server.memory import keep_buffers

MAPPED = """
import ctypes, sys
from registry.server.memory import keep_buffers
class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
if sys.argv[1] == "keep":
    assert keep_buffers()
before = library.mallinfo2().hblks
held = bytearray(1024 * 1024)
print(library.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 to look inside")
@pytest.mark.parametrize(("how", "mapped"), [("keep", 0), ("leave", 1)])
def test_a_buffer_of_a_mebibyte_is_no_mapping_of_its_own(how: str, mapped: int) -> None:
    import subprocess

    told = subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, check=True, text=True)
    assert int(told.stdout) == mapped


def test_what_the_environment_says_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_buffers()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_buffers()
