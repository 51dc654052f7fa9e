"""A certificate for the servers that are measured over TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path


def pair(folder: Path) -> dict[str, str]:
    """A new self-signed certificate and its key, as both servers name them in their configuration."""
    files = {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-out", files["certificate"], "-keyout", files["key"]),
        ],
        check=True,
        capture_output=True,
    )
    return files
