"""The command line on a composition root of its own making, in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from registry.cli.commands import build
from registry.cli.composition import OnReady
from registry.config import Config
from registry.server import Renewal
from registry.work.operations import Operation, Operations

URLS = {"registry": "http://127.0.0.1:5000", "ops": "http://127.0.0.1:5001"}


@dataclass
class Fake:
    """A composition root: `failure` is what serving raises, `served` what it was asked to serve."""

    offered: Iterable[Operation[Any]] = ()
    urls: Mapping[str, str] = field(default_factory=lambda: URLS)
    failure: Exception | None = None
    code: int = 0
    served: list[Config] = field(default_factory=list)
    tables: list[Config] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)

    def serve(self, config: Config, on_ready: OnReady, renewal: Renewal | None = None) -> int:
        """Remember, and be ready at once."""
        self.served.append(config)
        if self.failure is not None:
            raise self.failure
        on_ready(self.urls)
        return self.code

    def operations(self, config: Config, noun: str | None = None) -> Operations:
        """A table that notes when it is open."""
        self.tables.append(config)

        @asynccontextmanager
        async def opening() -> AsyncIterator[None]:
            self.journal.append("open")
            try:
                yield
            finally:
                self.journal.append("closed")

        return Operations(self.offered, opening)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs one command."""

    def __call__(self, *words: str, composition: Fake | None = None) -> Ended: ...


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ended]:
    """Run a command beside no store, in an environment without settings and without a terminal."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MOORAGE_")]:
        monkeypatch.delenv(name)

    def one(*words: str, composition: Fake | None = None) -> Ended:
        capsys.readouterr()
        given: Sequence[str] = list(words)
        with pytest.raises(SystemExit) as raised:
            build(given, composition or Fake())(args=given, prog_name="moorage")
        written = capsys.readouterr()
        code = raised.value.code
        return Ended(code if isinstance(code, int) else 0, written.out, written.err)

    return one
