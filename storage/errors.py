"""What a storage driver may raise: one tree, so that a caller can catch as widely as it means to."""

from __future__ import annotations


class StorageError(Exception):
    """Anything a driver reports; `key` names the object, the message says what happened to it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{message}: {key!r}" if key else message)
        self.key = key
        self.message = message
        self._is_named = False

    def name(self, store: str) -> None:
        """Say in the text which store of several it was; the first to know has it."""
        if not self._is_named:
            self.args = (f"{store}: {self}",)
            self._is_named = True


class NotFound(StorageError):
    """No object lies under the key."""

    def __init__(self, key: str, message: str = "no such object") -> None:
        super().__init__(key, message)


class AlreadyExists(StorageError):
    """`if_absent` was asked for and other bytes already lie under the key."""

    def __init__(self, key: str, message: str = "another object lies here already") -> None:
        super().__init__(key, message)


class InvalidRange(StorageError):
    """The range asked for begins behind the end of the object; `size` is the object's, in bytes."""

    def __init__(self, key: str, size: int, message: str = "the range begins behind the end") -> None:
        super().__init__(key, message)
        self.size = size


class InvalidKey(StorageError):
    """The key breaks the grammar, or is a path prefix of another key."""


class TooLarge(StorageError):
    """The object, or one of its names, is larger than the caller or the store allows."""


class Unavailable(StorageError):
    """The store did not answer as it should; the same call may succeed when tried again."""


class OutOfSpace(StorageError):
    """There is no room left for the bytes."""


class Forbidden(StorageError):
    """The store refused the operation: permissions, or a read-only file system."""


class Withheld(StorageError):
    """What would lie under the key is nothing that may be stored."""

    def __init__(self, key: str, message: str = "this may not be stored") -> None:
        super().__init__(key, message)
