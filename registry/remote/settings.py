"""What an operator may set about connections to other hosts."""

from __future__ import annotations

from registry.settings import Network, Settings


class EgressSettings(Settings):
    """Which addresses may be connected to of those that are refused unless they are listed.

    These are the machine itself, its link, the metadata services of clouds, and what is no host's address.
    """

    allow: tuple[Network, ...] = ()
