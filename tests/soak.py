"""How long a randomised test goes on, and from which seed: `make soak MINUTES=30 SEED=1` says both.

In `make test` all of them together go on for a minute and a half; in `.ci/run` some go on for longer.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator


def duration_seconds(default: float) -> float:
    """How long: MINUTES, or else the default."""
    minutes = os.environ.get("MINUTES")
    return float(minutes) * 60 if minutes else default


def is_soak() -> bool:
    """Whether there is time: `make soak` says how much."""
    return "MINUTES" in os.environ


def first_seed() -> int:
    """SEED, or else one that nobody chose."""
    told = os.environ.get("SEED")
    return int(told) if told else random.SystemRandom().randrange(1 << 32)


def rounds(seconds: float) -> Iterator[int]:
    """A seed for each round, printed, until the time is over: MINUTES, or else `seconds`; at least one.

    SEED is the first of them, so that a failure is repeated with `MINUTES=0 SEED=<the last one printed>`.
    """
    end = time.monotonic() + duration_seconds(seconds)
    seed = first_seed()
    while True:
        print(f"SEED={seed}", flush=True)
        yield seed
        if time.monotonic() > end:
            return
        seed += 1
