"""A command-line client of another project, as the tests call it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import Result, run


@dataclass(frozen=True, slots=True)
class Client:
    """A command-line client with its fixed words and an environment free of the user's own settings."""

    words: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, given: str = "", code: int | None = 0) -> Result:
        """Run it; see `processes.run`."""
        return run(
            [*self.words, *arguments], environ={**bare(self.folder), **self.environ}, given=given, code=code
        )

    def scratch(self) -> Path:
        """A new folder that the client sees under the same path as the test."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def bare(home: Path) -> dict[str, str]:
    """An environment with nothing in it but a path and a home."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
    }
