"""What can be wrong with a configuration besides its values: files that it names, ports that clash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from urllib.parse import urlsplit

from registry.access.exposure import Exposed
from registry.access.policy import Policy
from registry.access.watched import Unusable
from registry.config.loading import ConfigError, Resolved, resolve
from registry.config.policy import load_policy
from registry.config.tree import Config
from registry.remote.addresses import Addresses, written_address
from registry.settings import Address, Problem, Source


@dataclass(frozen=True, slots=True)
class Sound:
    """A configuration that can be served, and the policy that it names."""

    resolved: Resolved[Config]
    policy: Policy


def check(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], flags: Mapping[str, str | None]
) -> Sound:
    """The configuration as `resolve` has it, with everything that it names found good.

    Raises ConfigError with all problems of settings, certificates, keys, people and rules together, and
    Exposed when there are no others.
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
    problems += _redirect_to_ourselves(resolved)
    problems += _certificate(resolved)
    problems += _seal(resolved)
    problems += _bucket(resolved)
    problems += _trusted_keys(resolved)
    problems += _people(resolved)
    problems += _audit_file(resolved)
    problems += _upstreams(resolved)
    problems += _cache(resolved)
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
    for one, other in combinations(resolved.config.listeners, 2):
        place = Address.parse(other.listen)
        if not Address.parse(one.listen).clashes(place):
            continue
        example = ""
        if other.is_ops:
            example = f", for example MOORAGE_OPS_LISTEN=127.0.0.1:{min(place.port + 1, 65535)}"
        # Of a default nobody knows that it is there.
        told, about = (one, other) if _source(resolved, one.setting).kind != "default" else (other, one)
        yield Problem(
            told.setting,
            f"{about.setting}{' (metrics and health)' if about.is_ops else ''} is {about.listen}, and two"
            f" listeners cannot share a port; change one of them{example}",
            _source(resolved, told.setting),
            repr(told.listen),
        )


def _cache(resolved: Resolved[Config]) -> Iterator[Problem]:
    directory, storage = resolved.config.cache.directory, resolved.config.storage
    if directory is None or storage.driver != "local":
        return
    near, store = os.path.realpath(directory), os.path.realpath(storage.root)
    if os.path.commonpath([near, store]) in (near, store):
        message = "what lies here is deleted at will, so it must be apart from storage.root"
        name = "cache.directory"
        yield Problem(name, message, _source(resolved, name), str(directory))


def _redirect_to_ourselves(resolved: Resolved[Config]) -> Iterator[Problem]:
    config = resolved.config
    s3 = config.storage.s3
    if s3 is None or not s3.redirect.enabled:
        return
    name = "storage.s3.redirect.endpoint" if s3.redirect.endpoint else "storage.s3.endpoint"
    place = s3.redirect.endpoint or s3.endpoint
    ours = {
        urlsplit(config.url or "").hostname,
        *(Address.parse(one.listen).host for one in config.client_listeners),
    }
    if place is not None and urlsplit(place).hostname in ours:
        message = (
            "is where the registry itself is: clients would be sent in circles, or show the store the token"
            " that is meant for us; give it another host name, or set storage.s3.redirect.enabled: false"
        )
        yield Problem(name, message, _source(resolved, name), repr(place))


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


def _seal(resolved: Resolved[Config]) -> Iterator[Problem]:
    path, required = resolved.config.access.seal_key_file, resolved.config.needs_seal
    if path is None and not required:
        return
    # Here, since it takes cryptography, which those do not need who know nobody.
    from registry.access.errors import Unfit
    from registry.access.seal import read_seal

    try:
        read_seal(path, required=required)
    except Unfit as error:
        name = "access.seal_key_file"
        yield Problem(name, str(error), _source(resolved, name), None if path is None else str(path))


def _bucket(resolved: Resolved[Config]) -> Iterator[Problem]:
    s3 = resolved.config.storage.s3
    if s3 is None or resolved.config.storage.driver != "s3":
        return
    # Only looked for: the parent of workers can do without.
    if find_spec("boto3") is None:
        message = "boto3 is needed for that, and is not installed: install what requirements/s3.txt locks"
        yield Problem("storage.s3", message, _source(resolved, "storage.s3.bucket"))
    for name in ("access_key_file", "secret_key_file", "ca_file"):
        file = getattr(s3, name)
        if file is not None and not os.access(file, os.R_OK):
            place = f"storage.s3.{name}"
            yield Problem(place, "the file cannot be read", _source(resolved, place), str(file))


def _trusted_keys(resolved: Resolved[Config]) -> Iterator[Problem]:
    access = resolved.config.access
    if not access.issuers and access.token_server is None:
        return
    # Here, since it takes the library of cryptography, which those do not need who trust nobody.
    from registry.access.trust.keyfiles import unusable

    for name, reason in unusable(access.issuers, access.token_server):
        yield Problem(f"access.{name}", reason, _source(resolved, f"access.{name}"))


def _people(resolved: Resolved[Config]) -> Iterator[Problem]:
    access = resolved.config.access
    # Here, since it takes libraries that those do not need who serve without.
    if access.htpasswd_file is not None:
        from registry.access.htpasswd import HtpasswdError, read_htpasswd

        try:
            read_htpasswd(access.htpasswd_file)
        except HtpasswdError as error:
            yield from error.problems
    if access.ldap is not None:
        from registry.access.sources import open_directory

        try:
            open_directory(access.ldap).close()
        except Unusable as error:
            yield from error.problems


def _audit_file(resolved: Resolved[Config]) -> Iterator[Problem]:
    path = resolved.config.audit.file
    # Whoever checks need not be whom the server runs as, so nothing is tried.
    if path is not None and not path.parent.is_dir():
        message = f"there is no directory {path.parent}; make it, for the user whom the server runs as"
        yield Problem("audit.file", message, _source(resolved, "audit.file"), repr(str(path)))


def _upstreams(resolved: Resolved[Config]) -> Iterator[Problem]:
    config, source = resolved.config, _source(resolved, "mirrors")
    addresses = Addresses(config.egress.allow)
    for at, mirror in enumerate(config.mirrors):
        for number, upstream in enumerate(mirror.upstreams):
            name = f"mirrors[{at}].upstreams[{number}]"
            # What a name leads to is judged whenever it is connected to.
            address = written_address(urlsplit(upstream.url).hostname or "")
            reason = None if address is None else addresses.refusal(address)
            if reason is not None:
                message = f"would never be asked ({reason}); if it is to be, list {address} in egress.allow"
                yield Problem(f"{name}.url", message, source, repr(upstream.url))
            for setting, file in (("password_file", upstream.password_file), ("ca_file", upstream.ca_file)):
                if file is not None and not os.access(file, os.R_OK):
                    yield Problem(f"{name}.{setting}", "the file cannot be read", source, repr(str(file)))


def _source(resolved: Resolved[Config], name: str) -> Source:
    # Of a list of sections only the whole has a source.
    return resolved.sources.get(name.partition("[")[0], Source("default"))
