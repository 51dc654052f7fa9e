"""Whether a signature counts, which PyJWT must see as we do: for each kind of key, whatever the signature."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from registry.access.signing import PrivateKey, SigningKey, key_of

TEXT = b"head.payload"
# Of P-256 (FIPS 186-5): how many scalars there are.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EDGES = (0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)


def key(private: PrivateKey) -> SigningKey:
    return key_of(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


KEYS = {
    made.algorithm: made
    for made in (
        key(ec.generate_private_key(ec.SECP256R1())),
        key(ed25519.Ed25519PrivateKey.generate()),
        key(rsa.generate_private_key(65537, 2048)),
    )
}
LIBRARY = jwt.algorithms.get_default_algorithms()
SIGNATURES = {name: LIBRARY[name].sign(TEXT, one.private) for name, one in KEYS.items()}


def agreed(one: SigningKey, text: bytes, signature: bytes) -> bool:
    """What both say of a signature."""
    found = one.has_signed(text, signature)
    assert found is LIBRARY[one.algorithm].verify(text, one.public, signature)
    return found


@pytest.mark.parametrize("algorithm", KEYS)
def test_its_own_signature_counts_and_no_other(algorithm: str) -> None:
    one, signature = KEYS[algorithm], SIGNATURES[algorithm]
    assert agreed(one, TEXT, signature)
    assert not agreed(one, TEXT + b".", signature)
    for name, other in SIGNATURES.items():
        assert agreed(one, TEXT, other) is (name == algorithm)


@pytest.mark.parametrize("algorithm", KEYS)
@given(data=st.data())
def test_a_signature_that_was_changed_does_not_count(algorithm: str, data: st.DataObject) -> None:
    one, signature = KEYS[algorithm], SIGNATURES[algorithm]
    place = data.draw(st.integers(0, len(signature)))
    cut = data.draw(st.integers(place, len(signature)))
    changed = signature[:place] + data.draw(st.binary(max_size=80)) + signature[cut:]
    assert agreed(one, TEXT, changed) is (changed == signature)


@pytest.mark.parametrize("r", EDGES)
@pytest.mark.parametrize("s", EDGES)
def test_numbers_at_the_edge_of_the_curve_are_no_signature(r: int, s: int) -> None:
    assert not agreed(KEYS["ES256"], TEXT, r.to_bytes(32) + s.to_bytes(32))


@pytest.mark.parametrize("outer", [0, ORDER, 2**256 - 1])
def test_one_good_number_is_no_signature(outer: int) -> None:
    r, s = SIGNATURES["ES256"][:32], SIGNATURES["ES256"][32:]
    for wrong in (r + outer.to_bytes(32), outer.to_bytes(32) + s, s + r, r + b"\0" + s):
        assert not agreed(KEYS["ES256"], TEXT, wrong)


def test_a_signature_as_x509_writes_it_does_not_count() -> None:
    one = KEYS["ES256"]
    assert isinstance(one.private, ec.EllipticCurvePrivateKey)
    der = jwt.utils.raw_to_der_signature(SIGNATURES["ES256"], one.private.curve)
    assert not agreed(one, TEXT, der)
