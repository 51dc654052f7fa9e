"""Put the `moorage` command, running this checkout, into the environment whose Python runs this script."""

from __future__ import annotations

import shlex
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

# A shell script, since a path with a blank in it can stand in no first line of a Python one.
Path(sysconfig.get_path("purelib"), "moorage-checkout.pth").write_text(f"{CHECKOUT}\n")
command = Path(sysconfig.get_path("scripts"), "moorage")
command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m registry.cli "$@"\n')
command.chmod(0o755)
