"""What `serve` says when it is ready: where it listens, where the data lie, and what to try first."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from registry import __version__
from registry.access.policy import Policy
from registry.access.principals import ANONYMOUS
from registry.config import BOUND, Config
from registry.model.names import RepositoryName
from registry.settings import Address
from registry.settings.hosts import is_loopback

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
        *(
            f"Names below {name.removeprefix(BOUND)}/ are pulled without that prefix from {place}"
            " (docker's registry-mirrors)"
            for name, place in urls.items()
            if name.startswith(BOUND)
        ),
        f"The data lie in {config.storage.text}",
    ]
    if config.read_only:
        lines.append(f"It is read-only (read_only: true). Pull from it: docker pull {place.netloc}/NAME:TAG")
        return "\n".join(lines)
    if policy.knows_people and place.scheme == "http" and not is_loopback(place.hostname or ""):
        lines.append(
            "WARNING: clients reach it in plain HTTP, so passwords and tokens cross the network as they are;"
            " use registry.tls or a proxy with TLS, and an https:// address as url"
        )
    if not policy.decide(ANONYMOUS, "create", RepositoryName(_IMAGE)).allowed:
        file, server = config.access.rules_file, config.access.token_server
        told = (
            f"is written in {file}" if file or server is None else f"is said by the tokens of {server.realm}"
        )
        lines.append(f"What may be pushed and pulled {told}")
        return "\n".join(lines)
    lines += [
        "Push something into it:",
        f"  docker pull {_IMAGE}",
        f"  docker tag {_IMAGE} {image}",
        f"  docker push {image}",
    ]
    if place.scheme == "http" and (
        (config.url is None and everywhere) or not is_loopback(place.hostname or "")
    ):
        others = f"THIS-MACHINE:{port}" if config.url is None and everywhere else place.netloc
        lines.append(
            f"This is plain HTTP, which docker speaks to other machines only if their daemon.json has"
            f' {{"insecure-registries": ["{others}"]}}; or set registry.tls.'
        )
    return "\n".join(lines)
