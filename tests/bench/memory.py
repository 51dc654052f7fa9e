"""The memory that another process holds: its resident set, as the kernel counts it.

That is more than its own share where processes share pages (PSS), but the kernel keeps its exact peak.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.processor import family

MIB = 1 << 20


def resident_mib(pid: int) -> float:
    """What the largest of a process and all below it holds now, in MiB."""
    return max(_status(one, "VmRSS") for one in family(pid))


def peak_mib(pid: int) -> float:
    """The most that the largest of them has ever held, or has since `forget_peak`."""
    return max(_status(one, "VmHWM") for one in family(pid))


def forget_peak(pid: int) -> None:
    """Let the peak begin again at what is held now."""
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def _status(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.removesuffix("kB")) / 1024
    raise ValueError(f"process {pid} has no {field}: it has ended")
