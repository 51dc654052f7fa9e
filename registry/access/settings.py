"""What an operator may set about who may do what."""

from __future__ import annotations

from pathlib import Path

from registry.settings import Settings


class AccessSettings(Settings):
    """Where the access rules are; None on loopback only, where everything is allowed."""

    rules_file: Path | None = None
