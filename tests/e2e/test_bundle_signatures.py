"""Signatures of bundles, as cosign and openssl verify them where there is nothing of ours."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.bundles.format import HEAD
from registry.bundles.keys import SigningKey, new_key, read_public_key
from registry.bundles.signatures import Algorithm, require_signatures, signature_files
from tests.bundles.handmade import files_of, flipped, images, write_folder
from tests.e2e.client import Client
from tests.e2e.processes import Result, run

pytestmark = pytest.mark.other_client

# cosign wants to be told that no log and no authority of the world outside stands behind a key.
NO_ROOT = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}\n'


@pytest.fixture(params=["ecdsa-p256", "ed25519"])
def key(request: pytest.FixtureRequest) -> SigningKey:
    """A key of each kind."""
    algorithm: Algorithm = request.param
    return new_key(algorithm)


@pytest.fixture
def folder(cosign: Client, key: SigningKey) -> Path:
    """A bundle that the key has signed, with its public half beside it, where cosign sees both."""
    folder = cosign.scratch()
    write_folder(files_of(images(), key), folder)
    (folder / "key.pub").write_bytes(key.public.pem)
    (folder / "no-root.json").write_text(NO_ROOT)
    return folder


def verify_sigstore(cosign: Client, folder: Path, key: SigningKey, code: int | None = 0) -> Result:
    """Verify by the Sigstore bundle."""
    return cosign(
        "verify-blob",
        f"--key={folder / 'key.pub'}",
        f"--bundle={folder / f'{HEAD}.{key.public.id}.sigstore.json'}",
        "--new-bundle-format",
        f"--trusted-root={folder / 'no-root.json'}",
        "--insecure-ignore-tlog=true",
        folder / HEAD,
        code=code,
    )


def verify_raw(cosign: Client, folder: Path, key: SigningKey, code: int | None = 0) -> Result:
    """Verify by the raw signature."""
    return cosign(
        "verify-blob",
        f"--key={folder / 'key.pub'}",
        f"--signature={folder / f'{HEAD}.{key.public.id}.sig'}",
        "--insecure-ignore-tlog=true",
        folder / HEAD,
        code=code,
    )


@pytest.mark.parametrize("verify", [verify_sigstore, verify_raw])
def test_cosign_verifies_what_was_signed_and_nothing_else(
    verify: Callable[..., Result], cosign: Client, folder: Path, key: SigningKey
) -> None:
    assert "Verified OK" in verify(cosign, folder, key).text
    (folder / HEAD).write_bytes(flipped((folder / HEAD).read_bytes()))
    assert verify(cosign, folder, key, code=None).code != 0


@pytest.mark.parametrize("verify", [verify_sigstore, verify_raw])
def test_cosign_refuses_another_key(
    verify: Callable[..., Result], cosign: Client, folder: Path, key: SigningKey
) -> None:
    (folder / "key.pub").write_bytes(new_key(key.public.algorithm).public.pem)
    assert verify(cosign, folder, key, code=None).code != 0


def test_what_cosign_signs_can_be_attached(cosign: Client, folder: Path) -> None:
    """The key of a ceremony elsewhere: its raw signature is what ours would be."""
    made = cosign(
        "sign-blob",
        "--key=cosign.key",
        "--tlog-upload=false",
        "--yes",
        "--output-signature",
        folder / "out",
        folder / HEAD,
    )
    assert made.code == 0
    public = read_public_key(cosign.folder / "cosign.pub")
    content = (folder / HEAD).read_bytes()
    signatures = signature_files(public, base64.b64decode((folder / "out").read_text()), content)
    assert require_signatures(content, signatures, [public], 1) == [public]


def test_openssl_verifies_what_was_signed_and_nothing_else(folder: Path, key: SigningKey) -> None:
    signature = f"{HEAD}.{key.public.id}.sig"
    words: list[object] = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", signature, HEAD]
    if key.public.algorithm == "ed25519":
        words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin"]
        words += ["-in", HEAD, "-sigfile", signature]
    run(words, folder=folder)
    (folder / HEAD).write_bytes(flipped((folder / HEAD).read_bytes()))
    assert run(words, folder=folder, code=None).code != 0


def test_sha256sum_finds_all_files_as_they_are(folder: Path) -> None:
    told = run(["sha256sum", "-c", "SHA256SUMS"], folder=folder).out
    assert told.count(": OK") == len((folder / "SHA256SUMS").read_text().splitlines())
