"""A place to listen at, as an operator writes it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from registry.settings.hosts import is_loopback

_FORM = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]/@\s]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A host (IP address, name, or empty for every address of the machine) and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`, `[ipv6]:port` or `:port`; `ValueError` says what is allowed."""
        form = _FORM.fullmatch(text)
        if form is None or int(form["port"]) > 65535:
            raise ValueError(
                f"{text!r} is no address to listen at: "
                "write 127.0.0.1:5000, [::1]:5000, or :5000 for every address of this machine"
            )
        if form["six"] is not None:
            try:
                ipaddress.IPv6Address(form["six"])
            except ValueError:
                raise ValueError(f"{form['six']!r} in {text!r} is no IPv6 address") from None
        return cls(form["six"] or form["host"] or "", int(form["port"]))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect; a name other than `localhost` counts as reachable."""
        return is_loopback(self.host)

    def clashes(self, other: Address) -> bool:
        """Whether the two cannot both be listened at: one port, of the same host or of every one."""
        if self.port != other.port or self.port == 0:
            return False
        hosts = {"127.0.0.1" if one.host == "localhost" else one.host for one in (self, other)}
        if len(hosts) == 1 or hosts & {"", "::"}:
            return True
        return "0.0.0.0" in hosts and not any(":" in host for host in hosts)  # noqa: S104 (as written)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _written(text: str) -> str:
    Address.parse(text)
    return text


Listen = Annotated[str, AfterValidator(_written)]
"""An address to listen at, as it was written."""
