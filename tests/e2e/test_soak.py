"""Mixed traffic for as long as MINUTES says, with kills and restarts: all that was acknowledged is there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.server import CHECKOUT, Server
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker
from tests.e2e.images import NewImage
from tests.e2e.memory import MIB, Memory
from tests.e2e.processes import free_port
from tests.e2e.traffic import LOST, Traffic, WithDocker, WithHttp, WithSkopeo
from tests.e2e.wire import Wire
from tests.e2e.workers import workers
from tests.soak import duration_seconds, first_seed

RESULTS = CHECKOUT / "results"
PEAK_MIB, GROWTH_MIB = 140, 24


class Disturbed:
    """A server of two workers that is killed, restarted and renewed while clients use it.

    `trouble` is odd while one may lose it, and counts up; a SIGHUP is no trouble.
    """

    def __init__(self, chance: random.Random, root: Path, scratch: Path) -> None:
        self._chance = chance
        self._root, self._scratch = root, scratch
        self.place = f"127.0.0.1:{free_port()}"
        self.trouble = 0
        self.done: Counter[str] = Counter()
        self.server = self._start()
        self._calm = threading.Condition()

    def disturb(self, *, gently: bool) -> str:
        """Do one of the things that happen to a server; gently: what leaves the eldest worker alone."""
        hard = (self._kill_all, self._restart, self._renew)
        what = self._kill_youngest if gently or self._chance.random() < 0.4 else self._chance.choice(hard)
        if what == self._kill_youngest and len(workers(self.server)) < 2:
            # The one that was killed last is not back yet: who dies often is started ever later.
            return "leave alone"
        if what != self._renew:
            self._begin()
        try:
            what()
        finally:
            if what != self._renew:
                self._end()
        name = what.__name__.lstrip("_").replace("_", " ")
        self.done[name] += 1
        return name

    def wait(self) -> None:
        """Until there is no trouble."""
        with self._calm:
            self._calm.wait_for(lambda: self.trouble % 2 == 0, timeout=60)

    def pids(self) -> list[int]:
        """The workers of now."""
        return workers(self.server)

    def _begin(self) -> None:
        with self._calm:
            self.trouble += 1

    def _end(self) -> None:
        with self._calm:
            self.trouble += 1
            self._calm.notify_all()

    def _start(self) -> Server:
        settings = {"workers": 2, "drain_seconds": 1, "registry": {"listen": self.place}}
        server = Server(self._root, self._scratch, settings)
        while server.log.count('"server.started"') < 2:
            time.sleep(0.02)
        return server

    def _kill_youngest(self) -> None:
        alive = workers(self.server)
        os.kill(max(alive), signal.SIGKILL)
        while max(alive) in workers(self.server):
            time.sleep(0.02)

    def _kill_all(self) -> None:
        pids = [self.server.pid, *workers(self.server)]
        os.kill(self.server.pid, signal.SIGSTOP)
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
        self.server.kill()
        self.server = self._start()

    def _restart(self) -> None:
        assert self.server.stop() == 0
        self.server = self._start()

    def _renew(self) -> None:
        before, count = set(workers(self.server)), self.server.log.count('"server.renewed"')
        os.kill(self.server.pid, signal.SIGHUP)
        while before & set(workers(self.server)) or self.server.log.count('"server.renewed"') == count:
            time.sleep(0.02)


class User(threading.Thread):
    """Takes one step after another; one that fails while there was no trouble is a failure."""

    def __init__(self, traffic: Traffic, disturbed: Disturbed) -> None:
        super().__init__()
        self._traffic = traffic
        self._disturbed = disturbed
        self._over = threading.Event()
        self._began = time.monotonic()
        self.failures: list[str] = []
        self.lost = 0

    def run(self) -> None:
        """Until told to end."""
        while not self._over.is_set():
            self._disturbed.wait()
            before = self._disturbed.trouble
            try:
                self._traffic.step()
            except LOST as problem:
                if before % 2 == 0 and self._disturbed.trouble == before:
                    when = f"{time.monotonic() - self._began:.1f} s after the beginning"
                    self.failures.append(f"{type(self._traffic).__name__}, {when}: {problem!r}")
                self.lost += 1

    def end(self) -> None:
        """After the step that it is at."""
        self._over.set()
        self.join()


@pytest.fixture
def store(scratch: Path) -> Iterator[Path]:
    """Where all of it lies; a long run fills gigabytes."""
    yield scratch / "root"
    shutil.rmtree(scratch / "root")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_what_was_acknowledged_is_whole_after_kills_and_restarts(
    docker: Docker, containers: Clients, new_image: NewImage, scratch: Path, store: Path
) -> None:
    seed, seconds = first_seed(), duration_seconds(45)
    chance = random.Random(seed)
    print(f"SEED={seed}", flush=True)
    disturbed = Disturbed(chance, store, scratch)

    def luck() -> random.Random:
        return random.Random(chance.random())

    place = disturbed.place
    traffics: list[Traffic] = [
        WithDocker(luck(), place, new_image, docker),
        *(WithSkopeo(luck(), place, new_image, containers("skopeo")) for _ in range(2)),
        *(WithHttp(luck(), place, new_image, disturbed.wait) for _ in range(4)),
    ]
    users = [User(traffic, disturbed) for traffic in traffics]
    memory = Memory(disturbed.pids)
    end = time.monotonic() + seconds
    for thread in (memory, *users):
        thread.start()
    try:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, chance.uniform(1, 8)))
            # In the second half one worker grows old, so that its memory can be seen.
            memory.mark(disturbed.disturb(gently=left < seconds / 2))
    finally:
        for user in users:
            user.end()
        memory.end()
    try:
        memory.write(RESULTS / f"soak-{seed}")
        report(disturbed, users, traffics, memory, seed)
        wire = Wire(place)
        wrong = [line for one in traffics for line in one.ledger.judge(wire, one.repository)]
        assert wrong == []
        assert disturbed.server.command("storage", "check", "--hash-blobs").code == 0
        assert [line for user in users for line in user.failures] == []
        assert memory.peak() < PEAK_MIB * MIB
        assert memory.growth()[1] < GROWTH_MIB * MIB
    finally:
        disturbed.server.stop()


def report(
    disturbed: Disturbed, users: list[User], traffics: list[Traffic], memory: Memory, seed: int
) -> None:
    """Say what happened."""
    for kind in sorted({type(traffic).__name__ for traffic in traffics}):
        ours = [pair for pair in zip(users, traffics, strict=True) if type(pair[1]).__name__ == kind]
        done = sum((traffic.ledger.done for _, traffic in ours), Counter[str]())
        steps = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
        lost, failed = sum(user.lost for user, _ in ours), sum(len(user.failures) for user, _ in ours)
        kept = sum(len(traffic.ledger.images) for _, traffic in ours)
        print(f"{kind}: {steps}; {lost} lost to trouble, {failed} failed; {kept} images to be whole")
    troubles = ", ".join(f"{what} {count} times" for what, count in sorted(disturbed.done.items()))
    lived, grown = memory.growth()
    print(f"The server: {troubles}")
    for line in (line for user in users for line in user.failures):
        print(f"Failed: {line}")
    print(
        f"Memory: {memory.peak() / MIB:.0f} MiB resident at most; the worker that lived longest,"
        f" {lived:.0f} s, grew by {grown / MIB:+.1f} MiB; results/soak-{seed}.svg"
    )
