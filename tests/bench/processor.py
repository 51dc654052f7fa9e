"""The processor time that another process has used, to the nanosecond."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

from registry.logs import GATHER_SECONDS

# What looks idle for less may have a log to write yet, and that would be counted with what comes next.
SETTLE_SECONDS = 2 * GATHER_SECONDS
SETTLE_ROUNDS = 10
IDLE_NANOSECONDS = 100_000


def used_nanoseconds(pid: int) -> int:
    """User and system time of a process and of all below it, threads that have ended included.

    This is the kernel's own clock of each process (clock_getcpuclockid), since the figures in
    /proc/PID/stat have steps of 10 ms. A child that ends takes its time along, so it must not.
    """
    return sum(time.clock_gettime_ns(_clock(one)) for one in family(pid))


def settled_nanoseconds(pid: int) -> int:
    """The same, once what goes on after the last answer (a log's thread, a garbage collector) is done."""
    before = used_nanoseconds(pid)
    for _ in range(SETTLE_ROUNDS):
        time.sleep(SETTLE_SECONDS)
        now = used_nanoseconds(pid)
        if now - before < IDLE_NANOSECONDS:
            return now
        before = now
    return before


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while we look; the children that it had are another thread's then.
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def _clock(pid: int) -> int:
    clock = ctypes.c_int()
    failure = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if failure:
        raise OSError(failure, os.strerror(failure), f"process {pid}")
    return clock.value
