"""What a client is told that has to log in (RFC 6750, Distribution's token specification)."""

from __future__ import annotations

from starlette.types import Scope

from registry.api.calls import Services
from registry.api.paths import TOKEN_PATH
from registry.errors import Unauthorized


def challenge(services: Services, scope: Scope, error: Unauthorized) -> str:
    """The value of `WWW-Authenticate`: one challenge, since several clients read no second one."""
    namespace = scope.get("namespace")
    realm, asked = services.gate.realm, error.scope
    if realm is None:
        realm = f"{address(services, scope)}{TOKEN_PATH}"
        if namespace is not None:
            # Many clients make the scope themselves, of the name that they know. So all of them do, and the
            # token endpoint puts the namespace in.
            realm = f"{realm}/{namespace}"
            asked = asked.replace(f"repository:{namespace}/", "repository:")
    parts = [f'realm="{realm}"', f'service="{services.gate.service}"']
    if asked:
        parts.append(f'scope="{asked}"')
    if error.problem:
        parts.append(f'error="{error.problem}"')
    return f"Bearer {','.join(parts)}"


def address(services: Services, scope: Scope) -> str:
    """Where clients reach this registry, never taken from what a request says of it.

    Without `url` it is the address of the socket, which is on loopback then.
    """
    if services.url is not None:
        return services.url
    host, port = scope["server"]
    return f"{scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}"
