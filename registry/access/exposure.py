"""A registry without rules is for this machine alone: neither the network nor web pages may reach it."""

from __future__ import annotations

import re
from collections.abc import Collection

from registry.settings.hosts import is_loopback

OPEN_RULES = "- {who: anonymous, repositories: ['**'], may: [pull, push, list]}"
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


class Exposed(Exception):
    """The registry would be open to the network without rules; the text says how to decide."""


def require_rules(listen: str, setting: str, *, is_loopback: bool, has_rules: bool) -> None:
    """Refuse to listen beyond loopback without access rules. Raises Exposed."""
    if has_rules or is_loopback:
        return
    raise Exposed(
        f"refusing to listen on {listen} ({setting}): other machines could reach the registry, and there are"
        " no access rules, so everybody could do there whatever they like.\n"
        "Write down what is allowed, in a file such as access.yaml. This lets everybody pull and push,"
        " and nobody delete:\n\n"
        f"  {OPEN_RULES}\n\n"
        "and name it in the configuration (or as MOORAGE_ACCESS_RULES_FILE):\n\n"
        "  access: {rules_file: /etc/moorage/access.yaml}\n\n"
        f"To serve this machine alone, listen on 127.0.0.1:{listen.rpartition(':')[2]}."
    )


def foreign_host(host: str | None, origin: str | None, *, known: Collection[str]) -> str | None:
    """Why a request may not be asked of a registry without rules; None when it may.

    A web page can have a name of its own resolved to this machine, and so ask us as if it were a local
    program (DNS rebinding). It cannot avoid sending that name as `Host`, nor `Origin` when it wants to
    change anything. `known` are further host names that are ours.
    """
    if origin is not None:
        return "web pages may not use this registry: it has no access rules (access.rules_file)"
    # Browsers always send Host; who does not is none.
    if host is None or _is_ours(host, known):
        return None
    return (
        "this registry has no access rules and answers only to localhost; set `url` to the address"
        " that clients use, or write rules (access.rules_file)"
    )


def _is_ours(host: str, known: Collection[str]) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match[1] or match[2]).rstrip(".").lower()
    return name in known or is_loopback(name)
