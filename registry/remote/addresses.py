"""Which addresses a server may connect to when others choose them: a name's owner, a redirect, an issuer."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where clouds give credentials to the machines that ask, besides the link-local 169.254.169.254.
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::/32", "fd20:ce::254")
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Addresses:
    """Tells which addresses may be connected to; `allow` are networks that may be all the same.

    Private networks may: other registries and issuers are there as often as not.
    """

    def __init__(self, allow: Sequence[Network]) -> None:
        self._allow = tuple(allow)

    def refusal(self, text: str) -> str | None:
        """Why an address, as the resolver gives it, may not be connected to; None when it may."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return "it is no address"
        # What stands for an address of the other kind is as good as that.
        meant = _embedded(address) or [address]
        if any(one in network for one in (address, *meant) for network in self._allow):
            return None
        return next((reason for one in meant if (reason := _kind(one)) is not None), None)


def written_address(host: str) -> str | None:
    """The address that a host is written as, in any of the ways that resolvers take; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _kind(address: Address) -> str | None:
    if any(address in network for network in _METADATA):
        return "it is a cloud's metadata service"
    if address.is_loopback:
        return "it is this machine itself"
    if address.is_link_local:
        return "it is link-local, as metadata services are"
    if address.is_multicast or address.is_reserved or address.is_unspecified or address in _THIS_NETWORK:
        return "it is no host's address"
    return None


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, compatible, NAT64, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    number = int(address)
    if address.ipv4_mapped is not None or address in _NAT64 or 1 < number <= 0xFFFFFFFF:
        return [ipaddress.IPv4Address(number & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address.sixtofour]
    return list(address.teredo or ())
