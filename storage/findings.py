"""What was found out about a store by trying."""

from __future__ import annotations

from dataclasses import dataclass

from storage.errors import StorageError


class UnsuitableStore(StorageError):
    """The store lacks something that the promises of the contract rest on; the message says what."""

    def __init__(self, message: str) -> None:
        super().__init__("", message)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a store must be able to do, whether it is, and what there is to say of it."""

    what: str
    fit: bool
    found: str
