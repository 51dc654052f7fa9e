"""The official conformance program of distribution-spec; its totals tell, its exit code does not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.api.people import Login
from tests.e2e.client import bare
from tests.e2e.processes import Result, run
from tests.equipment.absence import require


@dataclass(frozen=True, slots=True)
class Totals:
    """How many checks ended how, and the lines of those that did not pass."""

    passed: int
    failed: int
    errors: int
    skipped: int
    disabled: int
    unsuccessful: str


def conform(host_port: str, folder: Path, login: Login | None = None, *, sparse: bool = True) -> Totals:
    """Run the whole program, at the specification's main branch, on repositories that are new.

    Without its `sparse` data set nothing is pushed that lacks layers.
    """
    name = f"conformance/{os.urandom(4).hex()}"
    environ = {
        "OCI_DATA_SPARSE": "true" if sparse else "false",
        "OCI_REPO1": f"{name}/one",
        "OCI_REPO2": f"{name}/two",
    }
    if login is not None:
        environ |= {"OCI_USERNAME": login.name, "OCI_PASSWORD": login.password}
    done = _run(host_port, folder, environ)
    results = folder / "results" / "results.yaml"
    assert results.is_file() and results.stat().st_size, f"it wrote no results\n{done.text[-4000:]}"
    return _totals(done)


def conform_reading(host_port: str, folder: Path, repository: str, **content: Iterable[str]) -> Totals:
    """Run what of it reads, on the `tags`, `manifests`, `blobs` and `referrers` that a repository has.

    Of what it has not made itself it looks at statuses alone, and it writes no results: it panics behind its
    summary. Digests in headers it looks for where it has not kept any, and so is told not to.
    """
    off: tuple[str, ...] = ("PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE")
    off += ("BLOBS_DIGEST_HEADER", "MANIFESTS_DIGEST_HEADER")
    environ = {
        "OCI_REPO1": repository,
        **{f"OCI_API_{name}": "false" for name in off},
        **{f"OCI_RO_DATA_{kind.upper()}": " ".join(names) for kind, names in content.items()},
    }
    return _totals(_run(host_port, folder, environ))


def _run(host_port: str, folder: Path, environ: Mapping[str, str]) -> Result:
    told = {
        "OCI_VERSION": "dev",
        "OCI_REGISTRY": host_port,
        "OCI_TLS": "disabled",
        "OCI_RESULTS_DIR": str(folder / "results"),
    }
    return run(
        [require("conformance")],
        environ={**bare(folder), **told, **environ},
        folder=folder,
        code=None,
        deadline_seconds=240,
    )


def _totals(done: Result) -> Totals:
    return Totals(
        passed=total(done.out, "Pass"),
        failed=total(done.out, "FAIL"),
        errors=total(done.out, "Error"),
        skipped=total(done.out, "Skip"),
        disabled=total(done.out, "Disabled"),
        unsuccessful="\n".join(re.findall(r"^.*: +(?:FAIL|Error|Skip|Disabled)$", done.out, re.MULTILINE)),
    )


def total(told: str, status: str) -> int:
    """The number that the summary gives for one status."""
    found = re.findall(rf"^  {status}\.+: +([0-9]+)$", told, re.MULTILINE)
    assert len(found) == 1, f"no total for {status}\n{told[-4000:]}"
    return int(found[0])
