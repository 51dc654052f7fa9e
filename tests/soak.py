"""How long a randomised test goes on, and from which seed: `make soak MINUTES=30 SEED=1` says both."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator


def rounds(seconds: float) -> Iterator[int]:
    """A seed for each round, printed, until the time is over: MINUTES, or else `seconds`; at least one.

    SEED is the first of them, so that a failure is repeated with `MINUTES=0 SEED=<the last one printed>`.
    """
    minutes = os.environ.get("MINUTES")
    end = time.monotonic() + (float(minutes) * 60 if minutes else seconds)
    told = os.environ.get("SEED")
    seed = int(told) if told else random.SystemRandom().randrange(1 << 32)
    while True:
        print(f"SEED={seed}", flush=True)
        yield seed
        if time.monotonic() > end:
            return
        seed += 1
