"""What `serve` says when it is ready: where it listens, where the data lie, and what to try first."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from registry import __version__
from registry.access.rules import Policy
from registry.config import Config
from registry.model.names import RepositoryName
from registry.server.address import Address

_IMAGE = "busybox"
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (as operators write it)


def announcement(config: Config, policy: Policy, urls: Mapping[str, str]) -> str:
    """The text for the person who started the server; `urls` has the address by listener."""
    everywhere = Address.parse(config.registry.listen).host in _EVERYWHERE
    port = urlsplit(urls["registry"]).port
    where = f"every address, port {port}; " if everywhere else ""
    url = config.url or urls["registry"]
    place = urlsplit(url)
    image = f"{place.netloc}/{_IMAGE}"
    lines = [
        f"Moorage {__version__} listens on {urls['registry']} ({where}metrics and health: {urls['ops']})",
        f"The data lie in {os.path.realpath(config.storage.root)}",
    ]
    if config.read_only:
        lines.append(f"It is read-only (read_only: true). Pull from it: docker pull {place.netloc}/NAME:TAG")
        return "\n".join(lines)
    if not policy.allows("push", RepositoryName(_IMAGE)).allowed:
        lines.append(f"What may be pushed and pulled is written in {config.access.rules_file}")
        return "\n".join(lines)
    lines += [
        "Push something into it:",
        f"  docker pull {_IMAGE}",
        f"  docker tag {_IMAGE} {image}",
        f"  docker push {image}",
    ]
    if place.scheme == "http" and (
        (config.url is None and everywhere) or not _is_loopback(place.hostname or "")
    ):
        others = f"THIS-MACHINE:{port}" if config.url is None and everywhere else place.netloc
        lines.append(
            f"This is plain HTTP, which docker speaks to other machines only if their daemon.json has"
            f' {{"insecure-registries": ["{others}"]}}; or set registry.tls.'
        )
    return "\n".join(lines)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
