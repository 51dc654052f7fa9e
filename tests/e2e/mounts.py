"""Namespaces of our own, so that no mount and no network that a container engine makes outlives the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.equipment.catalogue import Missing

AS_ROOT = "sudo make test"

PRIVATE = """
echo ready
exec cat
"""

# An overlay keeps the cached root as it is; pivot_root makes it the / that container storage insists on.
OTHER_ROOT = """
set -e
cd "$1"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" root
cd root
mkdir -p old ".$1"
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
mount --bind "$1" ".$1"
pivot_root . old
umount -l /old
echo ready
exec cat
"""


class MountSpace:
    """A private mount namespace, with the machine's own root or another; it ends with us, mounts and all.

    With `network` also a network of its own, which has nothing but its loopback.
    """

    def __init__(self, folder: Path, root: Path | None = None, *, network: bool = False) -> None:
        """Begin one; `folder` has the same path inside it as outside, also under another root."""
        self.folder = folder
        self._network = network
        if os.geteuid() != 0:
            raise Missing("root", "container engines mount file systems", AS_ROOT)
        script = [PRIVATE, "space"] if root is None else [OTHER_ROOT, "space", str(folder), str(root)]
        self._holder = subprocess.Popen(
            ["unshare", *["--net"] * network, "--mount", "--propagation", "private", "sh", "-c", *script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, problem = self._holder.communicate()
            reason = problem.decode(errors="replace").strip()
            raise Missing("mount namespaces", reason, f"{AS_ROOT}, where CAP_SYS_ADMIN is granted")
        if network:
            subprocess.run(self.enter("ip", "link", "set", "lo", "up"), check=True)

    def enter(self, *command: object) -> list[str]:
        """The command line that runs a command inside; it dies with whoever starts it."""
        words = ["setpriv", "--pdeathsig", "TERM", "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if self._network:
            words.append(f"--net=/proc/{self._holder.pid}/ns/net")
        return [*words, *(str(word) for word in command)]

    def close(self) -> None:
        """End the namespace; what is mounted in it goes when the last program in it has gone."""
        self._holder.communicate(timeout=30)
