"""Files with the public keys of others: a set of JSON Web Keys, or certificates in PEM."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from registry.access.trust.settings import IssuerSettings, TokenServerSettings
from registry.access.trust.webkeys import KeyUnfit, WebKey, WebKeys, read_set, web_key
from registry.access.watched import Unusable, contents
from registry.remote.egress import CertificatesUnusable, trust
from registry.settings import Problem, Source

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates that are trusted: to vouch for others, and their own keys to sign tokens."""

    roots: tuple[x509.Certificate, ...]
    keys: tuple[WebKey, ...]


def read_jwks(path: Path) -> WebKeys:
    """The keys in a file. Raises Unusable."""
    data = _read(path)
    try:
        return read_set(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise _unusable(path, "it is not JSON") from error
    except KeyUnfit as error:
        raise _unusable(path, str(error)) from error


def read_certificates(path: Path) -> Certificates:
    """The certificates in a file. Raises Unusable."""
    data = _read(path)
    try:
        roots = tuple(x509.load_pem_x509_certificates(data))
    except (ValueError, x509.InvalidVersion) as error:
        raise _unusable(path, "it holds no certificates in PEM, or one that is malformed") from error
    keys = []
    for root in roots:
        try:
            keys.append(web_key(root.public_key()))
        except (KeyUnfit, ValueError, UnsupportedAlgorithm) as error:
            raise _unusable(path, f"the key of {root.subject.rfc4514_string()}: {error}") from error
    return Certificates(roots, tuple(keys))


def _read(path: Path) -> bytes:
    try:
        data = contents(path, _LIMIT)
    except OSError as error:
        raise _unusable(path, f"the file cannot be read: {error.strerror}") from error
    if len(data) > _LIMIT:
        raise _unusable(path, f"the file has more than {_LIMIT >> 20} MiB")
    return data


def _unusable(path: Path, reason: str) -> Unusable:
    return Unusable("the file of public keys", [Problem("", reason, Source.file(str(path)))])


def unusable(
    issuers: Sequence[IssuerSettings], token_server: TokenServerSettings | None
) -> Iterator[tuple[str, str]]:
    """The settings that name a file of no use, by their names in `access`, and why."""
    for at, issuer in enumerate(issuers):
        yield from _tried(f"issuers[{at}].jwks_file", issuer.jwks_file, read_jwks)
        yield from _tried(f"issuers[{at}].ca_file", issuer.ca_file, trust)
    if token_server is not None:
        yield from _tried("token_server.certificates", token_server.certificates, read_certificates)
        yield from _tried("token_server.jwks_file", token_server.jwks_file, read_jwks)


def _tried(name: str, path: Path | None, read: Callable[[Path], object]) -> Iterator[tuple[str, str]]:
    if path is None:
        return
    try:
        read(path)
    except Unusable as error:
        yield from ((name, str(problem)) for problem in error.problems)
    except CertificatesUnusable as error:
        yield name, str(error)
