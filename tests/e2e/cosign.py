"""cosign: its signatures are made with a key pair of this run, and kept in no public log."""

from __future__ import annotations

import json

import pytest

from tests.e2e.client import Client
from tests.e2e.mounts import MountSpace

PLAIN = ("--allow-http-registry", "--allow-insecure-registry")


@pytest.fixture(scope="session")
def cosign(debian13: MountSpace) -> Client:
    """cosign as Debian 13 has it, with a key pair made for this run and no transparency log."""
    folder = debian13.folder / "cosign"
    folder.mkdir()
    environ = {"COSIGN_PASSWORD": "", "COSIGN_EXPERIMENTAL": "1"}
    client = Client(tuple(debian13.enter("env", f"--chdir={folder}", "/usr/bin/cosign")), folder, environ)
    client("generate-key-pair")
    return client


def sign(cosign: Client, reference: str, *options: str) -> None:
    """Sign an image, named by its digest."""
    cosign("sign", "--key=cosign.key", "--tlog-upload=false", "--yes", *PLAIN, *options, reference)


def verify(cosign: Client, reference: str, digest: str) -> None:
    """Verify an image by tag; what was signed must be the digest."""
    told = cosign("verify", "--key=cosign.pub", "--insecure-ignore-tlog=true", *PLAIN, reference).out
    [signed] = json.loads(told)
    assert signed["critical"]["image"]["docker-manifest-digest"] == digest
