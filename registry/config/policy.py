"""From the configuration to the policy that it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from registry.access.exposure import foreign_host, require_rules
from registry.access.policy import Policy
from registry.access.rules import RulesError, read_rules
from registry.access.watched import Watched
from registry.config.loading import ConfigError
from registry.config.tree import Config
from registry.settings import Address, Problem, Source


def load_policy(config: Config) -> Policy:
    """The policy of the rules file; without one what another token server's tokens say, or everything.

    Raises ConfigError, and Exposed when other machines could reach a registry without rules.
    """
    rules = watch_rules(config)
    return without_rules(config) if rules is None else rules.value


def without_rules(config: Config) -> Policy:
    """What holds where there is no rules file."""
    return Policy.open() if config.access.token_server is None else Policy.of_tokens()


def watch_rules(config: Config) -> Watched[Policy] | None:
    """The policy of the rules file, as it changes; None where there is no such file.

    Raises ConfigError, and Exposed when other machines could reach a registry without rules.
    """
    rules_file = config.access.rules_file
    has_tokens = config.access.token_server is not None
    is_loopback = True
    for one in config.client_listeners:
        alone = Address.parse(one.listen).loopback
        has_rules = has_tokens or rules_file is not None
        require_rules(one.listen, one.setting, is_loopback=alone, has_rules=has_rules)
        is_loopback = is_loopback and alone
    if rules_file is None:
        return None

    def read(path: Path) -> Policy:
        policy = Policy(read_rules(path))
        if policy.knows_people and config.url is None and not is_loopback and not has_tokens:
            message = (
                "must be the address that clients use: whoever has to log in is sent there for a token, and"
                " what a request says of it cannot be believed"
            )
            raise RulesError([Problem("url", message, Source("default"))])
        return policy

    try:
        return Watched(rules_file, read, "access rules")
    except RulesError as error:
        raise ConfigError(error.problems) from error


def host_guard(config: Config) -> Callable[[str | None, str | None], str | None] | None:
    """What turns away requests of web pages, by their Host and Origin; None where rules decide."""
    if config.access.rules_file is not None or config.access.token_server is not None:
        return None
    host = urlsplit(config.url).hostname if config.url is not None else None
    return partial(foreign_host, known=frozenset() if host is None else frozenset({host}))
