"""Ceph's gateway for S3, with the smallest cluster that it runs on: one monitor, one manager, one store."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import Daemon, free_port, run
from tests.equipment.absence import require
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY

_DEADLINE_SECONDS = 180

# One copy of everything, no authority but the keys that are made here, nothing listened for elsewhere.
# Without tcp_nodelay the end of an answer waits until its beginning is acknowledged, for 40 ms; and a monitor
# that proposes no earlier than after a second makes everything wait that comes into being, as pools do.
_SETTINGS = """
[global]
fsid = {cluster}
mon host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor1}]
mon initial members = a
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
log file = {folder}/$name.log
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd pool default pg autoscale mode = off
osd pool default pg num = 8
mon data avail crit = 1
mon data avail warn = 2
osd crush chooseleaf type = 0
paxos propose interval = 0.05
osd memory target = 939524096
bluestore block size = 10737418240
mon data = {folder}/mon
mgr data = {folder}/mgr
osd data = {folder}/osd
osd journal =
osd objectstore = bluestore
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw data = {folder}
rgw dns name = localhost
"""

_KEYS = {
    "mon.": ("--cap", "mon", "allow *"),
    "client.admin": ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"),
    "client.rgw": ("--cap", "mon", "allow rw", "--cap", "osd", "allow rwx"),
    "mgr.x": ("--cap", "mon", "allow profile mgr", "--cap", "osd", "allow *", "--cap", "mds", "allow *"),
    "osd.0": ("--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"),
}


class Ceph:
    """The cluster, in a folder that is empty; it knows the keys of the tests. Needs root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gateway_port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._gateway_port}"
        self._daemons: list[Daemon] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of it, the gateway first."""
        for daemon in reversed(self._daemons):
            daemon.kill()
        self._daemons = []

    @contextmanager
    def gateway_down(self) -> Iterator[None]:
        """Within it nobody answers: the gateway is killed, and started again on the same port."""
        self._daemons.pop().kill()
        try:
            yield
        finally:
            self._start_gateway()

    @contextmanager
    def other_keys(self, access: Path, secret: Path) -> Iterator[None]:
        """Within it the keys of the tests are good for nothing, and the files hold others."""
        other = (f"key{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)

        def replace(old: str, new: tuple[str, str]) -> None:
            words = ("--access-key", new[0], "--secret-key", new[1])
            self._run("radosgw-admin", "key", "create", "--uid", "tests", *words)
            for file, text in ((access, new[0]), (secret, new[1])):
                file.with_suffix(".new").write_text(text)
                file.with_suffix(".new").replace(file)
            self._run("radosgw-admin", "key", "rm", "--uid", "tests", "--access-key", old)

        replace(ACCESS_KEY, other)
        try:
            yield
        finally:
            replace(other[0], (ACCESS_KEY, SECRET_KEY))

    def _start(self) -> None:
        folder = self._folder
        for name in ("mon", "mgr", "osd"):
            (folder / name).mkdir(parents=True)
        monitor, monitor1, cluster = free_port(), free_port(), uuid.uuid4()
        (folder / "ceph.conf").write_text(
            _SETTINGS.format(
                cluster=cluster,
                folder=folder,
                monitor=monitor,
                monitor1=monitor1,
                gateway=self._gateway_port,
            )
        )
        for number, (name, rights) in enumerate(_KEYS.items()):
            begin = () if number else ("-C",)
            self._run("ceph-authtool", *begin, folder / "keyring", "--gen-key", "-n", name, *rights)
        place = f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor1}]"
        self._run(
            "monmaptool", "--create", "--fsid", cluster, "--clobber", "--addv", "a", place, folder / "monmap"
        )
        self._run(
            *("ceph-mon", "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", folder / "keyring")
        )
        self._daemon("ceph-mon", "-f", "-i", "a")
        self._run("ceph", "config", "set", "mon", "auth_allow_insecure_global_id_reclaim", "false")
        self._daemon("ceph-mgr", "-f", "-i", "x")
        disk = uuid.uuid4()
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "-f", "-i", "0")
        self._daemons[-1].wait_until(self._has_a_disk, _DEADLINE_SECONDS)
        self._start_gateway()
        self._run(
            *("radosgw-admin", "user", "create", "--uid", "tests", "--display-name", "tests"),
            *("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY),
        )

    def _start_gateway(self) -> None:
        self._daemon("radosgw", "-f", "-n", "client.rgw")
        self._daemons[-1].wait_until(self._answers, _DEADLINE_SECONDS)

    def _has_a_disk(self) -> bool:
        return "1 up" in self._run("ceph", "osd", "stat")

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.endpoint, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _daemon(self, program: str, *words: object) -> None:
        command = (require("radosgw", program), "-c", self._folder / "ceph.conf", *words)
        self._daemons.append(Daemon(command, self._folder / f"{program}.out", self._environ))

    def _run(self, program: str, *words: object) -> str:
        alone = program in ("ceph-authtool", "monmaptool")
        settings = () if alone else ("-c", self._folder / "ceph.conf")
        return run((require("radosgw", program), *settings, *words), environ=self._environ).text

    @property
    def _environ(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self._folder / "ceph.conf")}
