"""The memory of processes over time: sampled from /proc, and written as a table and as a picture."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

MIB = 1024
_WIDTH, _HEIGHT, _MARGIN = 1000, 400, 50
_SVG = "http://www.w3.org/2000/svg"
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment: seconds since the beginning, KiB resident, and KiB as its fair share."""

    seconds: float
    pid: int
    rss: int
    pss: int


class Memory(threading.Thread):
    """Samples the processes that `pids` names at each time, until it is ended."""

    def __init__(self, pids: Callable[[], Iterable[int]], interval_seconds: float = 0.5) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._interval = interval_seconds
        self._over = threading.Event()
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.marks: list[tuple[float, str]] = []

    def run(self) -> None:
        """Until ended."""
        while not self._over.wait(self._interval):
            try:
                pids = list(self._pids())
            except OSError:  # the parent has just gone
                continue
            for pid in pids:
                sample = look(pid, time.monotonic() - self._began)
                if sample is not None:
                    self.samples.append(sample)

    def mark(self, what: str) -> None:
        """Something happens now that the picture shall show."""
        self.marks.append((time.monotonic() - self._began, what))

    def end(self) -> None:
        """Sample no more."""
        self._over.set()
        self.join()

    def by_pid(self) -> dict[int, list[Sample]]:
        """The samples of each process."""
        found: dict[int, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            found[sample.pid].append(sample)
        return dict(found)

    def peak(self) -> int:
        """The most that one process had resident, in KiB."""
        return max(sample.rss for sample in self.samples)

    def growth(self) -> tuple[float, int]:
        """Of the process that lived longest: for how many seconds, and by how many KiB its share grew.

        From the median of the second quarter of its life, when it was warm, to that of the last.
        """
        life = max(self.by_pid().values(), key=lambda samples: samples[-1].seconds - samples[0].seconds)
        quarter = max(1, len(life) // 4)
        warm, last = life[quarter : 2 * quarter] or life, life[-quarter:]
        grown = median(one.pss for one in last) - median(one.pss for one in warm)
        return life[-1].seconds - life[0].seconds, round(grown)

    def write(self, place: Path) -> None:
        """A table beside a picture: `place` with .csv, and with .svg."""
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = (f"{one.seconds:.1f},{one.pid},{one.rss},{one.pss}\n" for one in self.samples)
        place.with_suffix(".csv").write_text("seconds,pid,rss_kib,pss_kib\n" + "".join(rows))
        place.with_suffix(".svg").write_text(self._picture())

    def _picture(self) -> str:
        longest = max(sample.seconds for sample in self.samples)
        most = max(self.peak(), 1)

        def x(seconds: float) -> float:
            return _MARGIN + seconds / longest * (_WIDTH - 2 * _MARGIN)

        def y(kib: float) -> float:
            return _HEIGHT - _MARGIN - kib / most * (_HEIGHT - 2 * _MARGIN)

        title = f"Resident memory of each worker (MiB) over time (s); grey: {_legend(self.marks)}"
        parts = [
            f'<svg xmlns="{_SVG}" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="11" font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{_MARGIN}" y="20">{title}</text>',
        ]
        for seconds, what in self.marks:
            parts.append(
                f'<line x1="{x(seconds):.1f}" x2="{x(seconds):.1f}" y1="{_MARGIN}" y2="{_HEIGHT - _MARGIN}"'
                f' stroke="#ddd"><title>{what}</title></line>'
            )
        for step in range(5):
            kib, seconds = most * step / 4, longest * step / 4
            parts.append(f'<text x="8" y="{y(kib):.1f}">{kib / MIB:.0f}</text>')
            parts.append(f'<text x="{x(seconds):.1f}" y="{_HEIGHT - 20}">{seconds:.0f}</text>')
        for number, (pid, samples) in enumerate(self.by_pid().items()):
            points = " ".join(f"{x(one.seconds):.1f},{y(one.rss):.1f}" for one in samples)
            colour = _COLOURS[number % len(_COLOURS)]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}">')
            parts.append(f"<title>process {pid}</title></polyline>")
        return "\n".join([*parts, "</svg>\n"])


def _legend(marks: Iterable[tuple[float, str]]) -> str:
    return ", ".join(sorted({what for _, what in marks})) or "nothing"


def look(pid: int, seconds: float) -> Sample | None:
    """One process now; None when it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = {name: int(value) for name, value in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE)}
    return Sample(seconds, pid, found["Rss"], found["Pss"]) if len(found) == 2 else None
