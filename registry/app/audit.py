"""The audit trail of one process, made from the configuration."""

from __future__ import annotations

import os
import platform
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry import __version__
from registry.access.audit import Audit, Trail
from registry.access.audit.kept import AuditStore
from registry.access.audit.sinks import open_sink
from registry.config import Config
from registry.core.registry import Registry


@contextmanager
def open_audit(
    config: Config, registry: Registry, tell: Callable[[str | None, int], None], *, at_once: bool
) -> Iterator[Audit]:
    """The audit trail of this process, and what is kept in the store; `tell` is told when lines are lost.

    A file is opened, and the first line written, `at_once` or when there is something to note.
    Raises AuditUnwritable.
    """
    store = registry.store
    trail = Trail(
        open_sink(config.audit.file, tell, at_once=at_once),
        process=secrets.token_hex(8),
        about=f"moorage {__version__}, process {os.getpid()} on {platform.node()}",
        now=store.effects.now,
        pulls=config.audit.pulls,
    )
    if at_once:
        trail.begin()
    try:
        yield Audit(trail, AuditStore(store.driver, store.effects, registry))
    finally:
        trail.end()


def tell_person(reason: str | None, _: int) -> None:
    """Say on the command line that the audit file misses what is done; the store keeps it all the same."""
    if reason is not None:
        sys.stderr.write(f"moorage: warning: the audit file cannot be written (audit.file): {reason}\n")
