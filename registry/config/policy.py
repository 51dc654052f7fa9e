"""From the configuration to the policy that it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from registry.access.exposure import foreign_host, require_rules
from registry.access.rules import Policy, RulesError, read_rules
from registry.config.loading import ConfigError
from registry.config.tree import Config
from registry.server.address import Address


def load_policy(config: Config) -> Policy:
    """The policy of the rules file, or one that allows everything on loopback without one.

    Raises ConfigError, and Exposed when other machines could reach a registry without rules.
    """
    listen = config.registry.listen
    rules_file = config.access.rules_file
    is_loopback = Address.parse(listen).loopback
    require_rules(listen, is_loopback=is_loopback, has_rules=rules_file is not None)
    if rules_file is None:
        return Policy.open()
    try:
        return read_rules(rules_file)
    except RulesError as error:
        raise ConfigError(error.problems) from error


def host_guard(config: Config) -> Callable[[str | None, str | None], str | None] | None:
    """What turns away requests of web pages, by their Host and Origin; None where rules decide."""
    if config.access.rules_file is not None:
        return None
    host = urlsplit(config.url).hostname if config.url is not None else None
    return partial(foreign_host, known=frozenset() if host is None else frozenset({host}))
