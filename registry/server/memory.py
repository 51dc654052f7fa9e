"""Tells glibc's allocator to keep the buffers of bodies instead of mapping and unmapping each."""

from __future__ import annotations

import ctypes
import os

# From <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_buffers(*, mmap_threshold: int = 2 * 1024 * 1024, trim_threshold: int = 256 * 1024 * 1024) -> bool:
    """Set glibc's two thresholds in bytes and say whether that was done.

    Bodies pass through buffers of up to 1 MiB; by default glibc maps each anew, and the page faults of a GiB
    cost more than the copying. What is larger than two of those, such as a large manifest, is mapped and
    given back at once: kept, it would tear holes that nobody fills. Nothing happens on another C library, or
    where the environment sets them.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (only glibc has it)
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = [mallopt(_M_MMAP_THRESHOLD, mmap_threshold), mallopt(_M_TRIM_THRESHOLD, trim_threshold)]
    return done == [1, 1]
