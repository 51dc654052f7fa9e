"""Digests, and the checks that bytes have them (image-spec: Descriptor, Digests)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import DigestInvalid
from registry.model.quoting import quoted

if TYPE_CHECKING:
    from hashlib import _Hash

SUPPORTED_ALGORITHMS = ("sha256", "sha512")

_ALGORITHM = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*")
_ENCODED = re.compile(r"[a-zA-Z0-9=_-]+")
_LENGTHS = {"sha256": 64, "sha512": 128, "blake3": 64}
_REGISTERED = {algorithm: re.compile(f"[a-f0-9]{{{length}}}") for algorithm, length in _LENGTHS.items()}
_LONGEST = 255  # characters of the whole digest: it must fit into one segment of a path


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of content: an algorithm, and the encoded hash that it gives.

    Any algorithm that fits the grammar is a valid digest; only `supported` ones can be computed here.
    """

    algorithm: str
    encoded: str

    def __post_init__(self) -> None:
        pattern = _REGISTERED.get(self.algorithm)
        if pattern is not None:
            if pattern.fullmatch(self.encoded) is None:
                raise DigestInvalid(
                    f"a {self.algorithm} digest is '{self.algorithm}:' and lowercase hexadecimal digits,"
                    f" {_LENGTHS[self.algorithm]} of them, not {quoted(str(self))}"
                )
        elif len(self.algorithm) + len(self.encoded) >= _LONGEST:
            raise DigestInvalid(f"a digest has at most {_LONGEST} characters, not {quoted(str(self))}")
        elif _ALGORITHM.fullmatch(self.algorithm) is None or _ENCODED.fullmatch(self.encoded) is None:
            raise DigestInvalid(
                "a digest is an algorithm, ':' and the encoded hash, like 'sha256:' and 64 hex digits,"
                f" not {quoted(str(self).removesuffix(':'))}"
            )

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that `text` spells. Raises DigestInvalid."""
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest that `content` has. Raises DigestInvalid for an algorithm that is not supported."""
        hasher = _new_hasher(algorithm)
        hasher.update(content)
        return cls(algorithm, hasher.hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

    @property
    def supported(self) -> bool:
        """Whether this registry can compute digests of the algorithm, and so can hold such content."""
        return self.algorithm in SUPPORTED_ALGORITHMS

    def require_supported(self) -> Digest:
        """The digest itself. Raises DigestInvalid when the algorithm is not supported."""
        if not self.supported:
            raise _unsupported(self.algorithm)
        return self

    @property
    def half(self) -> int:
        """The first 128 bits of a supported digest, as a number; no two contents can be made to share it."""
        return int(self.encoded[:32], 16)

    def hasher(self) -> _Hash:
        """A fresh hash object of the algorithm. Raises DigestInvalid when it is not supported."""
        return _new_hasher(self.algorithm)


class Hashing:
    """A check of a storage `write` that refuses nothing and computes digests and size of what passes.

    Raises DigestInvalid for an algorithm that is not supported.
    """

    def __init__(self, *algorithms: str) -> None:
        self._hashers = {algorithm: _new_hasher(algorithm) for algorithm in algorithms}
        self.size_bytes = 0

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes in."""
        for hasher in self._hashers.values():
            hasher.update(piece)
        self.size_bytes += len(piece)

    def finish(self) -> None:
        """Nothing to refuse."""

    def digest(self, algorithm: str) -> Digest:
        """The digest of the bytes so far, by one of the algorithms that were asked for."""
        return Digest(algorithm, self._hashers[algorithm].hexdigest())


class DigestCheck:
    """A check of a storage `write` that refuses bytes that do not have `digest`.

    Raises DigestInvalid when the algorithm is not supported.
    """

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self._hashing = Hashing(digest.algorithm)

    @property
    def size_bytes(self) -> int:
        """How many bytes have passed."""
        return self._hashing.size_bytes

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes in."""
        self._hashing.update(piece)

    def finish(self) -> None:
        """Raises DigestInvalid when the bytes that passed do not have the digest."""
        found = self._hashing.digest(self.digest.algorithm)
        if found != self.digest:
            raise DigestInvalid(
                f"the {self.size_bytes} bytes received have the digest {found}, not {self.digest}",
                detail={"expected": str(self.digest), "received": str(found)},
            )


def _new_hasher(algorithm: str) -> _Hash:
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "sha512":
        return hashlib.sha512()
    raise _unsupported(algorithm)


def _unsupported(algorithm: str) -> DigestInvalid:
    supported = " and ".join(SUPPORTED_ALGORITHMS)
    return DigestInvalid(f"this registry holds content by {supported}, not by {quoted(algorithm)}")
