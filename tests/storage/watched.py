"""File calls that a test watches, fails or stops, one by one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storage.files import Files
from storage.local import LocalDriver

CALLS = [name for name in vars(Files) if not name.startswith("_")]


@dataclass(frozen=True)
class Call:
    """One call: the method's name, what it was given, and the thread it ran in."""

    name: str
    arguments: tuple[Any, ...]
    thread: int


class WatchedFiles(Files):
    """The real file calls; `before` is called with each of them first, and may raise or wait."""

    def __init__(self, before: Callable[[Call], None] = lambda call: None) -> None:
        self.before = before
        self.calls: list[Call] = []

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def watched(*arguments: Any, **options: Any) -> Any:
            call = Call(name, arguments, threading.get_ident())
            self.calls.append(call)
            self.before(call)
            return value(*arguments, **options)

        return watched

    def names(self) -> list[str]:
        """The names of the calls so far."""
        return [call.name for call in self.calls]

    def given(self, name: str) -> list[Any]:
        """The first arguments of the calls of one method so far."""
        return [call.arguments[0] for call in self.calls if call.name == name]


def failing(number: int, *names: str) -> Callable[[Call], None]:
    """Fails each call of these methods with an errno."""

    def before(call: Call) -> None:
        if call.name in names:
            raise OSError(number, os.strerror(number))

    return before


def slow_down(driver: LocalDriver) -> None:
    """Let the driver believe that the disk is slow for writing: whatever it does, it does in threads."""
    patience = driver._works.patience
    for _ in range(11):
        patience.took(patience.clock() - 1)


class Gate:
    """Stops the call of a given number, counted from 0, until it is opened; for `WatchedFiles.before`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self._opened = threading.Event()
        self.reached = threading.Event()
        self.call: Call | None = None

    def __call__(self, call: Call) -> None:
        count, self._count = self._count, self._count + 1
        if count == self._number:
            self.call = call
            self.reached.set()
            self._opened.wait(60)

    def open(self) -> None:
        """Let the call go on."""
        self._opened.set()
