"""Commands that are run to their end: what one took."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.api.server import CHECKOUT
from tests.bench.memory import peak_mib

LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took: of the processor, of the time of who waits for it, and of memory at its peak."""

    processor_seconds: float
    waited_seconds: float
    peak_mib: float


def run(words: Sequence[object], environ: Mapping[str, str], log: Path) -> Spent:
    """Run a command, with all that it prints in a log; it must end well."""
    peak = 0.0
    began = time.monotonic()
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [str(word) for word in words], cwd=CHECKOUT, env=environ, stdout=printed, stderr=printed
        )
        # The kernel counts into the peak of a child what its parent had before the child began.
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            with suppress(OSError, ValueError):  # it has just ended
                peak = max(peak, peak_mib(process.pid))
            time.sleep(LOOK_SECONDS)
        waited = time.monotonic() - began
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text(errors="replace")[-2000:]
    return Spent(used.ru_utime + used.ru_stime, waited, peak)
