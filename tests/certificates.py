"""Certificates made at run time: authorities, those below them, and what is wrong with some."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)
# It signs certificates, and what it says itself.
_AUTHORITY = x509.KeyUsage(True, False, False, False, False, True, True, False, False)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM, open."""
        return private_pem(self.key)

    def issue(
        self,
        name: str,
        key: PrivateKey | None = None,
        *,
        authority: bool = False,
        path_length: int | None = None,
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
        hosts: tuple[str, ...] = (),
        extensions: tuple[x509.ExtensionType, ...] = (),
        critical: bool = False,
    ) -> Pair:
        """A certificate that this one signs; `extensions` are added, critical or not."""
        key = key or new_key()
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )
        built = _linked(built, self.key, key)
        return Pair(_signed(built, self.key, authority, path_length, hosts, extensions, critical), key)

    def write(self, folder: Path) -> dict[str, str]:
        """Both as files, as a listener of ours names them."""
        (folder / "tls.crt").write_bytes(self.pem)
        (folder / "tls.key").write_bytes(self.key_pem)
        return {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key that is quickly made."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> bytes:
    """A private key in PEM, open."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def named(name: str) -> x509.Name:
    """A subject with a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def self_signed(
    name: str,
    key: PrivateKey | None = None,
    *,
    authority: bool = True,
    path_length: int | None = None,
    begins: timedelta = -DAY,
    ends: timedelta = DAY,
    hosts: tuple[str, ...] = (),
) -> Pair:
    """A certificate that vouches for itself: an authority, unless it says that it is none."""
    key = key or new_key()
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    built = _linked(built, key, key)
    extensions = (_AUTHORITY,) if authority else ()
    return Pair(_signed(built, key, authority, path_length, hosts, extensions, False), key)


def _linked(built: x509.CertificateBuilder, signer: PrivateKey, key: PrivateKey) -> x509.CertificateBuilder:
    """With what names both keys: Python 3.13 and later trust nothing without."""
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return built.add_extension(above, critical=False).add_extension(own, critical=False)


def _signed(
    built: x509.CertificateBuilder,
    key: PrivateKey,
    authority: bool,
    path_length: int | None,
    hosts: tuple[str, ...],
    extensions: tuple[x509.ExtensionType, ...],
    critical: bool,
) -> x509.Certificate:
    built = built.add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    if hosts:
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            for host in hosts
        ]
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        built = built.add_extension(extension, critical=critical)
    return built.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
