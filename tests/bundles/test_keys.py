from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from registry.bundles.errors import BundleRefused
from registry.bundles.format import HEAD
from registry.bundles.keys import SigningKey, new_key, read_public_key, read_signing_key, write_key
from registry.bundles.signatures import (
    Algorithm,
    is_signature,
    raw_signature,
    require_signatures,
    signature_files,
)
from registry.errors import RequestInvalid
from tests.bundles.handmade import flipped

ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")
CONTENT = b'{"id":"b-00000000000000000000"}\n'


@pytest.fixture(scope="module", params=ALGORITHMS)
def key(request: pytest.FixtureRequest) -> SigningKey:
    """A key of each kind."""
    return new_key(request.param)


@pytest.fixture(scope="module")
def other() -> SigningKey:
    """One more key."""
    return new_key("ecdsa-p256")


def signed(*keys: SigningKey, content: bytes = CONTENT) -> dict[str, bytes]:
    """The files of signatures."""
    made: dict[str, bytes] = {}
    for one in keys:
        made.update(signature_files(one.public, one.sign(content), content))
    return made


class TestFiles:
    def test_a_key_is_read_as_it_was_written(self, key: SigningKey, tmp_path: Path) -> None:
        private, public = write_key(key, tmp_path / "keys")
        assert private.stat().st_mode & 0o777 == 0o600
        assert read_signing_key(private).public.der == read_public_key(public).der == key.public.der
        assert read_public_key(public).algorithm == key.public.algorithm
        assert key.public.id in private.name and key.public.id in public.name

    def test_a_key_is_never_written_over_another(self, key: SigningKey, tmp_path: Path) -> None:
        private, _ = write_key(key, tmp_path)
        before = private.read_bytes()
        with pytest.raises(RequestInvalid):
            write_key(key, tmp_path)
        assert private.read_bytes() == before

    @pytest.mark.parametrize("read", [read_signing_key, read_public_key])
    def test_what_is_no_key_is_refused(self, read: object, key: SigningKey, tmp_path: Path) -> None:
        assert callable(read)
        other_kind = key.public.pem if read is read_signing_key else key.pem
        for content in (b"", b"nothing", other_kind, bytes(1 << 20)):
            (tmp_path / "key").write_bytes(content)
            with pytest.raises(RequestInvalid, match="key"):
                read(tmp_path / "key")
        with pytest.raises(RequestInvalid):
            read(tmp_path / "missing")

    def test_keys_of_other_kinds_are_refused(self, tmp_path: Path) -> None:
        for strange in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
            pem = serialization.Encoding.PEM
            kind = serialization.PublicFormat.SubjectPublicKeyInfo
            (tmp_path / "public").write_bytes(strange.public_key().public_bytes(pem, kind))
            with pytest.raises(RequestInvalid, match="neither ECDSA P-256 nor Ed25519"):
                read_public_key(tmp_path / "public")
            none = serialization.NoEncryption()
            private = strange.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
            (tmp_path / "private").write_bytes(private)
            with pytest.raises(RequestInvalid, match="neither ECDSA P-256 nor Ed25519"):
                read_signing_key(tmp_path / "private")


class TestRequired:
    def test_one_that_is_trusted_does(self, key: SigningKey, other: SigningKey) -> None:
        trusted = [key.public, other.public]
        assert [one.id for one in require_signatures(CONTENT, signed(key), trusted, 1)] == [key.public.id]

    def test_signatures_of_strangers_do_no_harm(self, key: SigningKey, other: SigningKey) -> None:
        assert require_signatures(CONTENT, signed(key, other), [key.public], 1) == [key.public]

    def test_where_none_is_required_none_need_be(self, key: SigningKey) -> None:
        assert require_signatures(CONTENT, {}, [key.public], 0) == []

    def test_a_stranger_does_not(self, key: SigningKey, other: SigningKey) -> None:
        with pytest.raises(BundleRefused, match="not trusted here"):
            require_signatures(CONTENT, signed(other), [key.public], 1)

    def test_unsigned_does_not(self, key: SigningKey) -> None:
        with pytest.raises(BundleRefused, match="it is not signed"):
            require_signatures(CONTENT, {}, [key.public], 1)

    def test_one_key_counts_once_whatever_its_signature_is_called(
        self, key: SigningKey, other: SigningKey
    ) -> None:
        trusted = [key.public, other.public, key.public]
        with pytest.raises(BundleRefused, match="2 of those"):
            require_signatures(CONTENT, signed(key), trusted, 2)
        made = signed(key)
        made[f"{HEAD}.{other.public.id}.sig"] = made[f"{HEAD}.{key.public.id}.sig"]
        with pytest.raises(BundleRefused, match=other.public.id):
            require_signatures(CONTENT, made, trusted, 2)

    @pytest.mark.parametrize("end", ["sig", "sigstore.json"])
    def test_a_wrong_one_is_refused_though_there_are_enough(
        self, key: SigningKey, other: SigningKey, end: str
    ) -> None:
        made = signed(key, other)
        name = f"{HEAD}.{key.public.id}.{end}"
        made[name] = flipped(made[name])
        with pytest.raises(BundleRefused, match=name):
            require_signatures(CONTENT, made, [key.public, other.public], 1)

    def test_a_sigstore_bundle_alone_is_no_signature(self, key: SigningKey) -> None:
        made = signed(key)
        del made[f"{HEAD}.{key.public.id}.sig"]
        with pytest.raises(BundleRefused):
            require_signatures(CONTENT, made, [key.public], 1)

    @given(st.binary(max_size=100))
    def test_only_what_was_signed(self, content: bytes) -> None:
        key = new_key("ed25519")
        assert key.public.verifies(key.sign(content), content)
        assert not key.public.verifies(key.sign(content), content + b"\0")


def test_what_is_called_like_a_signature() -> None:
    assert is_signature(f"{HEAD}.0123456789abcdef.sig")
    assert is_signature(f"{HEAD}.0123456789abcdef.sigstore.json")
    assert raw_signature(f"{HEAD}.0123456789abcdef.sig") == "0123456789abcdef"
    assert raw_signature(f"{HEAD}.0123456789abcdef.sigstore.json") is None
    for name in (HEAD, f"{HEAD}.sig", f"{HEAD}.0123456789ABCDEF.sig", f"x/{HEAD}.0123456789abcdef.sig"):
        assert not is_signature(name)


def test_the_sigstore_bundle_has_the_same_signature(key: SigningKey) -> None:
    made = signed(key)
    document = json.loads(made[f"{HEAD}.{key.public.id}.sigstore.json"])
    encoded = document["messageSignature"]["signature"]
    assert base64.b64decode(encoded) == made[f"{HEAD}.{key.public.id}.sig"]


def test_openssl_verifies_as_the_documentation_says(key: SigningKey, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is in every image that these tests run in"
    (tmp_path / HEAD).write_bytes(CONTENT)
    (tmp_path / "key.pub").write_bytes(key.public.pem)
    (tmp_path / "sig").write_bytes(key.sign(CONTENT))
    ways = {
        "ecdsa-p256": ["dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", HEAD],
        "ed25519": [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key.pub",
            "-rawin",
            "-in",
            HEAD,
            "-sigfile",
            "sig",
        ],
    }
    words = [openssl, *ways[key.public.algorithm]]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / HEAD).write_bytes(CONTENT + b"\n")
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode != 0
