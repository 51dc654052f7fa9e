"""Debian's packages: on the machine itself, and as a whole newer release in a folder."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tests.equipment.catalogue import Missing, Tool, find_program

QUIET = ["-q", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]
DEADLINE_SECONDS = 1200


def install(packages: list[str]) -> None:
    """Install packages of the machine's own release; needs root and apt."""
    apt = find_program("apt-get")
    cure = f"apt-get install {' '.join(packages)} (as root)"
    if apt is None:
        raise Missing(
            "apt-get", "this is no Debian machine", "the machine's own installer for the same programs"
        )
    if os.geteuid() != 0:
        raise Missing("root", "apt-get installs for root only", cure)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run([str(apt), *QUIET, "update"], environ)
    run([str(apt), *QUIET, "install", "-y", "--no-install-recommends", *packages], environ)


def build_root(tool: Tool, target: Path) -> None:
    """Unpack a whole Debian release into `target`, from the mirror that the machine's own apt uses."""
    mmdebstrap = find_program("mmdebstrap")
    if mmdebstrap is None:
        raise Missing("mmdebstrap", "it makes the Debian root", "apt-get install mmdebstrap (as root)")
    if os.geteuid() != 0:
        raise Missing("root", f"{tool.name} is a file system of its own", tool.cure)
    command = [str(mmdebstrap), "--quiet", "--variant=apt", f"--include={','.join(tool.packages)}"]
    run([*command, tool.suite, str(target), *mirror()], dict(os.environ))


def mirror() -> list[str]:
    """The address that this machine's apt gets Debian from; none where the machine runs something else."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian":
        return []
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = (line.split() for line in listing.stdout.splitlines())
    return next(([fields[0]] for fields in lines if fields[1:] == [release.get("VERSION_CODENAME")]), [])


def run(command: list[str], environ: dict[str, str]) -> None:
    """Run an installer with its output on ours; its failure is a `SubprocessError`."""
    subprocess.run(command, env=environ, check=True, timeout=DEADLINE_SECONDS, stdin=subprocess.DEVNULL)
