"""What can be wrong with a configuration besides its values: files that it names, ports that clash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from registry.access.exposure import Exposed
from registry.access.rules import Policy
from registry.config.loading import ConfigError, Resolved, resolve
from registry.config.policy import load_policy
from registry.config.tree import Config
from registry.server.address import Address
from registry.settings import Problem, Source


@dataclass(frozen=True, slots=True)
class Sound:
    """A configuration that can be served, and the policy that it names."""

    resolved: Resolved[Config]
    policy: Policy


def check(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], flags: Mapping[str, str | None]
) -> Sound:
    """The configuration as `resolve` has it, with everything that it names found good.

    Raises ConfigError with all problems of settings, certificate and rules together, and Exposed when there
    are no others.
    """
    problems: list[Problem] = []
    try:
        resolved = resolve(path, environ, flags)
    except ConfigError as error:
        if error.rest is None:
            raise
        problems += error.problems
        resolved = error.rest
    problems += _same_address(resolved)
    problems += _certificate(resolved)
    try:
        policy = load_policy(resolved.config)
    except ConfigError as error:
        problems += error.problems
    except Exposed:
        # Of a configuration that is only half known that may not even be so.
        if not problems:
            raise
    if problems:
        raise ConfigError(problems)
    return Sound(resolved, policy)


def _same_address(resolved: Resolved[Config]) -> Iterator[Problem]:
    ours = {"registry.listen": resolved.config.registry.listen, "ops.listen": resolved.config.ops.listen}
    registry, ops = (Address.parse(text) for text in ours.values())
    if not registry.clashes(ops):
        return
    written = [name for name in ours if _source(resolved, name).kind != "default"]
    name = written[0]
    other = "ops.listen (metrics and health)" if name == "registry.listen" else "registry.listen"
    port = min(ops.port + 1, 65535)
    message = (
        f"{other} is {ours[other.split()[0]]}, and two listeners cannot share a port; change one of them,"
        f" for example MOORAGE_OPS_LISTEN=127.0.0.1:{port}"
    )
    yield Problem(name, message, _source(resolved, name), repr(ours[name]))


def _certificate(resolved: Resolved[Config]) -> Iterator[Problem]:
    tls = resolved.config.registry.tls
    if tls is None:
        return
    # Here, since it takes OpenSSL, which those do not need who serve without.
    from registry.server.pair import CertificateUnusable, load_pair

    try:
        load_pair(tls)
    except CertificateUnusable as error:
        yield Problem("registry.tls", str(error), _source(resolved, "registry.tls.certificate"))


def _source(resolved: Resolved[Config], name: str) -> Source:
    return resolved.sources.get(name, Source("default"))
