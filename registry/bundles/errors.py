"""What is wrong with a bundle, told with the file and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry.errors import Damaged, Denied, OutOfSpace, RegistryError
from registry.model.quoting import printable
from storage.errors import OutOfSpace as StoreFull


class BundleInvalid(Damaged):
    """A bundle is not what it must be; nothing of it is visible."""

    code, status, message = "BUNDLE_INVALID", 400, "the bundle is not sound"


class BundleRefused(Denied):
    """A bundle is sound, and what is configured here does not let it in."""

    message = "the bundle may not be imported here"


class BundleUnknown(RegistryError):
    """There is no such bundle here."""

    code, status = "NOT_FOUND", 404
    message = "there is no such bundle; `moorage bundle list` shows them, supplements aside"


def unsound(file: str, problem: str, remedy: str) -> BundleInvalid:
    """The error of one file of a bundle, whose name may be anything that a file system or a tar can have."""
    return BundleInvalid(printable(f"{file}: {problem}; {remedy}"), detail={"file": printable(file)})


@contextmanager
def told_if_full(bundle: str) -> Iterator[None]:
    """Say what to do where the store has no room for what is done with a bundle."""
    try:
        yield
    except StoreFull as error:
        raise OutOfSpace(
            f"the store is full, so {bundle} is not done with: make room (`moorage gc run`, or a larger disk)"
            " and do the same once more, which goes on from there; no tag names what is not here whole"
        ) from error
