"""Serves the toy in a process of its own: `python -m tests.server DIRECTORY SETTINGS`.

The directory gets the toy's `journal`, and `ready`: the URLs, and what the process had imported by then.
A file `settings` in it goes before the settings given, and may come later than the process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from registry.server import Deferred, ListenFailed, LogSettings, Renewal, StartFailed, serve
from tests.server.further import FurtherSettings


def main(directory: str, settings: str) -> int:
    def on_ready(urls: Mapping[str, str]) -> None:
        loaded = sorted({name.partition(".")[0] for name in sys.modules})
        told = json.dumps({"urls": dict(urls), "modules": loaded, "pid": os.getpid()})
        made = Path(directory, "ready.new")
        made.write_text(told)
        made.rename(Path(directory, "ready"))

    changed = Path(directory, "settings")
    merged = {**json.loads(settings), **(json.loads(changed.read_text()) if changed.exists() else {})}
    try:
        return serve(
            FurtherSettings.model_validate(merged),
            LogSettings(format="json", level="debug"),
            Deferred("tests.server.toy:build", directory),
            on_ready,
            Renewal(
                check=(str(trial(directory)),),
                serve=(sys.executable, *sys.orig_argv[1:]),
                check_seconds=2.0 if Path(directory, "impatient").exists() else 60.0,
            ),
        )
    except (ListenFailed, StartFailed) as error:
        print(error, file=sys.stderr)
        return 1


def trial(directory: str) -> Path:
    """A program that says whether the toy would start: not with a file `unsound`, which holds the reason.

    It may be a pipe, and then somebody has to write the reason.
    """
    program = Path(directory, "trial")
    program.write_text(f"#!/bin/sh\ncat {directory}/unsound 2>/dev/null && exit 1\nexit 0\n")
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
