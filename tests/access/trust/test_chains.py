"""Chains of certificates: who is vouched for, and who is not."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from registry.access.trust.chains import ChainBroken, signing_key
from tests.certificates import DAY, Pair, self_signed

NOW = datetime.now(UTC)
ROOT = self_signed("root")
OTHER = self_signed("other")
MIDDLE = ROOT.issue("middle", authority=True)
LEAF = MIDDLE.issue("leaf")
CERT_SIGN = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
NO_CERT_SIGN = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
NAMES = x509.NameConstraints([x509.DNSName("registry.test")], None)
POLICY = x509.PolicyConstraints(0, 0)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def x5c(*pairs: Pair) -> list[str]:
    """A chain as a header has it."""
    return [
        base64.b64encode(pair.certificate.public_bytes(serialization.Encoding.DER)).decode() for pair in pairs
    ]


def vouched(chain: object, *roots: Pair, now: datetime = NOW) -> str:
    """The thumbprint of the key that is believed."""
    return signing_key(chain, [pair.certificate for pair in roots], now).thumbprint


GOOD: dict[str, tuple[tuple[Pair, ...], tuple[Pair, ...]]] = {
    "a root itself": ((ROOT,), (ROOT,)),
    "a root that is no authority": ((self_signed("alone", authority=False),) * 1, ()),
    "issued by a root": ((MIDDLE,), (ROOT,)),
    "by way of another": ((LEAF, MIDDLE), (ROOT,)),
    "with the root at its end": ((LEAF, MIDDLE, ROOT), (ROOT,)),
    "one of several roots": ((LEAF, MIDDLE), (OTHER, ROOT)),
    "the one between is trusted": ((LEAF,), (MIDDLE,)),
    "more than is needed": ((MIDDLE, ROOT, OTHER), (ROOT,)),
    "an authority that says what its key is for": (
        (ROOT.issue("m", authority=True, extensions=(CERT_SIGN,), critical=True),),
        (ROOT,),
    ),
}
alone = self_signed("alone", authority=False)
GOOD["a root that is no authority"] = ((alone,), (alone,))


@pytest.mark.parametrize("name", GOOD)
def test_who_is_vouched_for(name: str) -> None:
    chain, roots = GOOD[name]
    assert vouched(x5c(*chain), *roots)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "p384"])
def test_keys_of_every_kind_vouch(kind: str) -> None:
    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    match kind:
        case "ed25519":
            key = ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            key = rsa.generate_private_key(65537, 2048)
        case _:
            key = ec.generate_private_key(ec.SECP384R1())
    root = self_signed("root", key)
    assert vouched(x5c(root.issue("leaf")), root)


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_a_signature_over_a_broken_digest_vouches_for_nobody(tmp_path: Path, digest: str) -> None:
    """With a program, since the library makes none any more."""
    files = ROOT.write(tmp_path)
    (tmp_path / "leaf.key").write_bytes(LEAF.key_pem)
    openssl = ["openssl", "req", "-new", "-subj", "/CN=leaf", "-key", "leaf.key", "-out", "leaf.csr"]
    subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True)
    signing = ["-CA", files["certificate"], "-CAkey", files["key"], "-CAcreateserial", f"-{digest}"]
    openssl = ["openssl", "x509", "-req", "-in", "leaf.csr", *signing, "-outform", "DER", "-out", "leaf.der"]
    subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True)
    chain = [base64.b64encode((tmp_path / "leaf.der").read_bytes()).decode()]
    if digest == "sha256":
        assert vouched(chain, ROOT, now=datetime.now(UTC))
    else:
        with pytest.raises(ChainBroken, match="none of the trusted certificates"):
            vouched(chain, ROOT, now=datetime.now(UTC))


def leaf_of(*authority: Pair, **more: object) -> tuple[Pair, ...]:
    """A chain whose leaf is issued by the first."""
    return (authority[0].issue("leaf", **more), *authority)  # type: ignore[arg-type]


NOBODY = "none of the trusted certificates vouches for it"
TIME = "has expired, or is not valid yet"
CRITICAL = "has a critical extension that is not known here"
BAD: dict[str, tuple[tuple[Pair, ...], tuple[Pair, ...], str]] = {
    "nobody is trusted": ((LEAF, MIDDLE, ROOT), (), NOBODY),
    "another is trusted": ((LEAF, MIDDLE, ROOT), (OTHER,), NOBODY),
    "the one between is missing": ((LEAF,), (ROOT,), NOBODY),
    "in the wrong order": ((MIDDLE, LEAF), (OTHER,), NOBODY),
    "from the top down": ((LEAF, ROOT, MIDDLE), (ROOT,), NOBODY),
    "a root of the same name": ((MIDDLE,), (self_signed("root"),), NOBODY),
    "a leaf that vouches": (leaf_of(LEAF, MIDDLE), (ROOT,), NOBODY),
    "a leaf below one that is trusted": (leaf_of(LEAF)[:1], (LEAF,), NOBODY),
    "vouching for itself": ((self_signed("leaf"),), (ROOT,), NOBODY),
    "an authority without the right to sign": (
        leaf_of(ROOT.issue("m", authority=True, extensions=(NO_CERT_SIGN,))),
        (ROOT,),
        NOBODY,
    ),
    "too far below a root": (leaf_of(MIDDLE), (self_signed("root", ROOT.key, path_length=0),), NOBODY),
    "too far below another": (
        leaf_of(ROOT.issue("b", authority=True, path_length=0).issue("c", authority=True)),
        (ROOT,),
        NOBODY,
    ),
    "an old leaf": (leaf_of(MIDDLE, begins=-2 * DAY, ends=-DAY), (ROOT,), TIME),
    "a leaf of tomorrow": (leaf_of(MIDDLE, begins=DAY, ends=2 * DAY), (ROOT,), TIME),
    "an old authority": (leaf_of(ROOT.issue("m", authority=True, begins=-2 * DAY, ends=-DAY)), (ROOT,), TIME),
    "an old root": ((MIDDLE,), (self_signed("root", ROOT.key, begins=-2 * DAY, ends=-DAY),), TIME),
    "a critical extension of the leaf": (
        leaf_of(MIDDLE, extensions=(UNKNOWN,), critical=True),
        (ROOT,),
        CRITICAL,
    ),
    "a critical extension of an authority": (
        leaf_of(ROOT.issue("m", authority=True, extensions=(NAMES,), critical=True)),
        (ROOT,),
        CRITICAL,
    ),
    "a critical policy": (leaf_of(MIDDLE, extensions=(POLICY,), critical=True), (ROOT,), CRITICAL),
    "a small key": (
        (ROOT.issue("leaf", rsa.generate_private_key(65537, 1024)),),
        (ROOT,),
        "RSA of 1024 bits",
    ),
    "a key of another kind": (
        (ROOT.issue("leaf", ec.generate_private_key(ec.SECP256K1())),),
        (ROOT,),
        "neither RSA, nor of P-256",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_who_is_not(name: str) -> None:
    chain, roots, reason = BAD[name]
    with pytest.raises(ChainBroken, match=reason):
        vouched(x5c(*chain), *roots)


def test_two_between_is_what_a_path_length_of_one_allows() -> None:
    root = self_signed("root", path_length=1)
    first = root.issue("first", authority=True)
    second = first.issue("second", authority=True)
    assert vouched(x5c(first.issue("leaf"), first), root)
    with pytest.raises(ChainBroken, match=NOBODY):
        vouched(x5c(second.issue("leaf"), second, first), root)


def test_a_certificate_is_good_for_its_time() -> None:
    assert vouched(x5c(MIDDLE), ROOT, now=NOW + timedelta(hours=23))
    with pytest.raises(ChainBroken, match=TIME):
        vouched(x5c(MIDDLE), ROOT, now=NOW + 2 * DAY)


def test_a_signature_that_is_not_the_issuers_counts_for_nothing() -> None:
    der = bytearray(MIDDLE.certificate.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(ChainBroken):
        vouched([base64.b64encode(der).decode()], ROOT)


@pytest.mark.parametrize(
    "chain",
    [None, "", "AA==", {}, [], [1], [None], [[]], [""], ["AA=="], ["ä"], ["=" * 9], x5c(LEAF) * 6],
    ids=[
        "null",
        "text",
        "base64",
        "object",
        "none",
        "number",
        "a null",
        "a list",
        "empty",
        "bytes",
        "letters",
        "padding",
        "many",
    ],
)
def test_what_is_no_chain(chain: object) -> None:
    with pytest.raises(ChainBroken):
        vouched(chain, ROOT)


DER = LEAF.certificate.public_bytes(serialization.Encoding.DER)


@given(st.integers(0, len(DER) - 1), st.binary(max_size=3))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_damaged_certificate_is_refused(at: int, put: bytes) -> None:
    damaged = DER[:at] + put + DER[at + len(put) :]
    if damaged == DER or not put:
        return
    with pytest.raises(ChainBroken):
        vouched([base64.b64encode(damaged).decode(), *x5c(MIDDLE)], ROOT)
