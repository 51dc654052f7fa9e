"""The private certificate authority of docs/ldap.md is one that every Python takes."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from tests.architecture.pages import Page
from tests.architecture.source import CHECKOUT

# By the real openssl.
pytestmark = pytest.mark.e2e


def test_the_authority_that_the_page_makes_is_believed_by_the_strictest_python(
    tmp_path: Path,
) -> None:
    page = Page(CHECKOUT / "docs/ldap.md")
    [recipe] = [block for block in page.blocks("sh") if "openssl" in block]
    assert shakes_hands(made(recipe, tmp_path / "whole"), tmp_path / "whole")
    # As many have made theirs.
    usage = "-addext keyUsage=critical,keyCertSign,cRLSign"
    assert usage in recipe
    assert not shakes_hands(made(recipe.replace(usage, ""), tmp_path / "bare"), tmp_path / "bare")


def made(recipe: str, folder: Path) -> ssl.SSLContext:
    """What believes the authority that a recipe makes in a folder, if Python 3.13 does."""
    folder.mkdir()
    subprocess.run(["sh", "-e", "-c", recipe], cwd=folder, check=True, capture_output=True)
    client = ssl.create_default_context(cafile=folder / "ca.crt")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


def shakes_hands(client: ssl.SSLContext, folder: Path) -> bool:
    """Whether a client believes the server that has the certificate of a folder."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "ldap.crt", folder / "ldap.key")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(there, back, server_hostname="ldap.example.com"),
        server.wrap_bio(back, there, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return ends[0].version() is not None
