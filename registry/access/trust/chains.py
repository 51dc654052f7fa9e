"""Chains of certificates from the one that signs tokens up to one that is trusted (RFC 5280, RFC 7515 x5c).

By hand, since what vouches for a token is no web server: it needs neither a host name nor the extensions that
web servers' certificates must have.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from registry.access.trust.webkeys import KeyUnfit, WebKey, web_key

_MOST = 5
# What is critical and not among these could forbid what we allow.
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


# What the library raises for what it cannot read, at whatever moment it comes to read it.
_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class ChainBroken(Exception):
    """Nobody who is trusted vouches for the certificate; the text says why."""


def signing_key(x5c: object, roots: Sequence[x509.Certificate], now: datetime) -> WebKey:
    """The key of the first certificate in a token's header, if the chain leads up to a root.

    Raises ChainBroken.
    """
    if not isinstance(x5c, list) or not 0 < len(x5c) <= _MOST:
        raise ChainBroken(f"x5c is no list of 1 to {_MOST} certificates")
    try:
        chain = [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in x5c]
        _check(chain, roots, now)
        return web_key(chain[0].public_key())
    except KeyUnfit as error:
        raise ChainBroken(f"the key of its certificate: {error}") from error
    except _MALFORMED as error:
        raise ChainBroken("a certificate is malformed, or of a kind that is not known here") from error


def _check(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime) -> None:
    for below, certificate in enumerate(chain):
        _check_alone(certificate, now)
        if certificate in roots:
            return
        for root in roots:
            if _issued(certificate, root, below):
                _check_alone(root, now)
                return
        if below + 1 == len(chain) or not _issued(certificate, chain[below + 1], below):
            break
    raise ChainBroken("none of the trusted certificates vouches for it")


def _check_alone(certificate: x509.Certificate, now: datetime) -> None:
    name = certificate.subject.rfc4514_string()
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ChainBroken(f"the certificate of {name} has expired, or is not valid yet")
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise ChainBroken(f"the certificate of {name} has a critical extension that is not known here")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, below: int) -> bool:
    """Whether an issuer vouches for a certificate that has `below` others under it."""
    if certificate.issuer != issuer.subject or not _is_authority(issuer, below):
        return False
    algorithm = certificate.signature_hash_algorithm
    # Ed25519 has none of its own to choose.
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_authority(certificate: x509.Certificate, below: int) -> bool:
    found = certificate.extensions
    try:
        constraints = found.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    # The one that signs tokens is not counted.
    if not constraints.ca or (constraints.path_length is not None and constraints.path_length < below):
        return False
    try:
        return found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
