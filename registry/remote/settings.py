"""What an operator may set about connections to other hosts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from registry.remote.proxies import proxy_address
from registry.settings import Network, Secret, Settings


def _proxy(secret: Secret) -> Secret:
    proxy_address(secret.reveal())
    return secret


class EgressSettings(Settings):
    """Which addresses may be connected to of those that are refused unless they are listed, and by whom.

    These are the machine itself, its link, the metadata services of clouds, and what is no host's address.
    The proxy is a secret, since it may have a password. Without one, or without the list of hosts that are
    asked directly, HTTPS_PROXY, HTTP_PROXY and NO_PROXY count.
    """

    allow: tuple[Network, ...] = ()
    proxy: Annotated[Secret, AfterValidator(_proxy)] | None = None
    no_proxy: tuple[str, ...] | None = None
