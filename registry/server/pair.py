"""A certificate and its key, as the files have them at the moment."""

from __future__ import annotations

import os
import ssl

from registry.server.settings import TLSSettings

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class CertificateUnusable(Exception):
    """The pair of files cannot serve; the text says why."""


def load_pair(settings: TLSSettings) -> ssl.SSLContext:
    """A context that serves the pair. Raises CertificateUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = settings.certificate, settings.key
    try:
        context.load_cert_chain(certificate, key, _refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key in {key} does not belong to the certificate in {certificate}"
        else:
            problem = f"{certificate} and {key} are no certificate chain and key in PEM ({error})"
        raise CertificateUnusable(problem) from error
    except OSError as error:
        missing = [str(path) for path in (certificate, key) if not os.access(path, os.R_OK)]
        told = " and ".join(missing or [str(certificate)])
        raise CertificateUnusable(f"{told} cannot be read: {error.strerror}") from error
    return context


def _refuse_password() -> str:
    # OpenSSL would otherwise ask for it at the terminal, and wait.
    raise CertificateUnusable("the key is encrypted; a server needs one without a pass phrase")
