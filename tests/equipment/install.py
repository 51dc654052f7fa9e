"""Install what the tests drive: `python -m tests.equipment.install [--soak] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.equipment import debian, golang, nodes, pythons, wheels
from tests.equipment.catalogue import Missing, Tool, cache_root, distribution, find_program, load

BUILDERS: dict[str, Callable[[Tool, Path], None]] = {
    "go": golang.build,
    "node": nodes.build,
    "python": pythons.build,
    "root": debian.build_root,
    "wheels": wheels.fetch,
}


def main(arguments: list[str] | None = None) -> int:
    """Install the tools named, or all; 1 if any of them could not be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.equipment.install", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="install these and nothing else")
    parser.add_argument("--soak", action="store_true", help="also what only `make soak` needs")
    asked = parser.parse_args(arguments)
    names = asked.only
    tools = load()
    if names and (unknown := [name for name in names if name not in tools]):
        parser.error(f"no tool is called {', '.join(unknown)}; known are {', '.join(tools)}")
    wanted = [tool.name for tool in tools.values() if asked.soak or not tool.soak]
    chosen = [tool for tool in tools.values() if tool.name in (names or wanted)]
    if any(tool.kind == "root" for tool in chosen):
        chosen = [*{tool.name: tool for tool in [*chosen, tools["mmdebstrap"]]}.values()]
    failures = install_packages([tool for tool in chosen if tool.kind in ("debian", "extra")])
    for tool in chosen:
        if tool.kind == "extra":
            failures += install_extra(tool)
        elif tool.kind != "debian":
            failures += build(tool)
    return 1 if failures else 0


def install_packages(tools: list[Tool]) -> int:
    """Bring in, with one apt-get call, the packages of those tools that lack something."""
    lacking = [tool for tool in tools if not is_here(tool)]
    if not lacking:
        return 0
    packages = sorted({package for tool in lacking for package in tool.packages})
    say(f"packages: {' '.join(packages)}")
    try:
        debian.install(packages)
    except (Missing, subprocess.SubprocessError) as problem:
        say(f"packages: {problem}")
        return 1
    return 0


def is_here(tool: Tool) -> bool:
    """Whether a tool of Debian's has its programs, and an extra is in the environment."""
    if tool.kind == "debian":
        return all(find_program(name) for name in tool.programs)
    try:
        return bool(distribution(tool))
    except Missing:
        return False


def install_extra(tool: Tool) -> int:
    """Bring an extra into the environment that this runs in; 1 if that failed."""
    if is_here(tool):
        return 0
    say(f"{tool.requirement}: installing into {sys.prefix}")
    try:
        pythons.build(tool, Path(sys.prefix))
    except (OSError, subprocess.SubprocessError) as problem:
        say(f"{tool.requirement}: {problem}")
        return 1
    return 0


def build(tool: Tool) -> int:
    """Build one tool beside its place in the cache and move it there whole; 1 if that failed."""
    target = cache_root() / tool.folder
    if target.is_dir() or (tool.unless and find_program(tool.unless)):
        return 0
    say(f"{tool.name} {tool.version}: building")
    started = time.monotonic()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.mkdir(parents=True)
    try:
        BUILDERS[tool.kind](tool, beside)
        if not target.is_dir():  # another run may have been quicker
            beside.rename(target)
    except (Missing, OSError, subprocess.SubprocessError) as problem:
        say(f"{tool.name}: {problem}")
        return 1
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    say(f"{tool.name} {tool.version}: built in {time.monotonic() - started:.0f} s")
    return 0


def say(line: str) -> None:
    """Tell the person who waits what is going on."""
    print(f"equipment: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
