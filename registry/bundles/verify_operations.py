"""Verifying a bundle without a registry: what the stand-alone program does, by the keys known here."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bundles.errors import BundleRefused
from registry.bundles.settings import BundlesSettings, imports
from registry.bundles.signatures import require_signatures
from registry.errors import RequestInvalid
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class Verify:
    """Which bundle, and whose signatures it must have."""

    path: tuple[str, ...] = argument("the folders of a bundle, or its tar (- is standard input)")
    key: Path | None = option(
        "a public key that must have signed; bundles.import.trusted_keys otherwise", default=None, local=True
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, and what to do."""

    file: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found; `signed_by` is None where no key is known to check signatures with."""

    id: str
    stream: str
    number: int
    carried_bytes: int
    believed_there: int
    signed_by: list[str] | None
    problems: list[Problem]
    more_problems: int
    not_given: str

    def told(self) -> str:
        """What is wrong, or that nothing is."""
        lines = [f"{self.id}: {self.stream} number {self.number}"] if self.id else []
        if self.believed_there:
            lines.append(f"{self.believed_there} manifests and blobs do not lie in it, and were not checked")
        if self.signed_by is None:
            lines.append("signatures: NOT checked, since no key is known (--key)")
        else:
            lines.append(f"signed by {', '.join(self.signed_by) or 'nobody who is trusted'}")
        lines += [f"{one.file}: {one.problem}; {one.remedy}" for one in self.problems]
        if self.more_problems:
            lines.append(f"and {self.more_problems} more problems")
        if self.not_given:
            lines.append(self.not_given)
        sound = "what was given is sound, and not all was given" if self.not_given else "it is sound"
        return "\n".join([*lines, "it is NOT sound" if self.problems else sound])


def operations(settings: BundlesSettings) -> Iterable[Operation[Any]]:
    """The operation; it needs no store."""

    async def bundle_verify(asked: Verify, _: Context) -> Outcome:
        trusted = imports(settings)
        keys = list(trusted.trusted_keys) if asked.key is None else [asked.key]
        required = trusted.required_signatures if asked.key is None else 1
        yield Result(*_verified(asked.path, keys, required))

    return (
        Operation(
            "bundle.verify",
            "Verify every file of a bundle, and who signed it",
            "admin",
            False,
            Verify,
            bundle_verify,
            needs_store=lambda _: False,
            local=True,
            own_places=True,
            result=Verified,
        ),
    )


def _verified(paths: tuple[str, ...], keys: list[Path], required: int) -> tuple[Verified, Status]:
    """What was found. Raises RequestInvalid."""
    # Here, since it takes cryptography, which the doors do not need that only list this.
    from registry.bundles import verify_bundle
    from registry.bundles.keys import read_public_key

    trusted = [read_public_key(one) for one in keys]
    verifier = verify_bundle.Verifier()
    try:
        with ExitStack() as opened:
            if list(paths) == ["-"]:
                verify_bundle.verify_tar(verifier, sys.stdin.buffer)
            elif len(paths) == 1 and not Path(paths[0]).is_dir():
                verify_bundle.verify_tar(verifier, opened.enter_context(Path(paths[0]).open("rb")))
            else:
                verify_bundle.verify_folders(verifier, verify_bundle.folders(paths))
    except OSError as error:
        raise RequestInvalid(f"{error.filename}: {error.strerror}; give a path that can be read") from None
    problems = [Problem(**one) for one in verifier.problems]
    signed_by = None
    unknown = Status.FAILED if verifier.not_given else Status.DONE
    status = Status.DAMAGED if problems else unknown
    if keys:
        signed_by = []
        try:
            found = require_signatures(verifier.head_bytes, verifier.signatures, trusted, required)
            signed_by = [one.id for one in found]
        except BundleRefused as error:
            file, _, problem = error.message.partition(": ")
            problems.append(Problem(file, *problem.rsplit("; ", 1)))
            status = Status.DAMAGED if status is Status.DAMAGED else Status.REFUSED
    head, elsewhere = verifier.head, [one for _, one in verifier.statement.all() if not one.pieces]
    totals = head.get("totals", {})
    verified = Verified(
        head.get("id", ""),
        head.get("stream", ""),
        head.get("number", 0),
        totals.get("carried_bytes", 0),
        len(elsewhere),
        signed_by,
        problems,
        verifier.more,
        verify_bundle.not_given(verifier) if verifier.not_given else "",
    )
    return verified, status
