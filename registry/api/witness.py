"""What the audit trail is told of requests: who asked, from where, and which rule decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from registry.access.audit import Audit, Deed, Entry, Event
from registry.access.audit.deeds import is_undone
from registry.access.errors import BadCredentials
from registry.access.logins import Origin
from registry.access.rights import Right
from registry.api.calls import Call
from registry.core.pushes import Pushed
from registry.errors import Denied, RegistryError, Unauthorized
from registry.model.digests import Digest
from registry.model.names import Tag

_SCHEMES = {"basic": "basic", "bearer": "token"}


def origin(scope: Scope) -> Origin:
    """Where a request came from."""
    return Origin(scope.get("client_address", ""), scope["headers"])


def sender(scope: Scope) -> dict[str, Any]:
    """Where a request came from and how its sender is known, as entries and contexts have it."""
    told = origin(scope)
    headers = Headers(scope=scope)
    via = _SCHEMES.get(headers.get("authorization", "").partition(" ")[0].lower(), "")
    return {
        "address": told.address,
        "via": "apikey" if via == "basic" and _who(scope).startswith("key:") else via,
        "agent": told.agent,
    }


def note_refusal(audit: Audit, scope: Scope, error: RegistryError) -> None:
    """Note a request that was refused, unless nobody in particular is merely told to log in."""
    if isinstance(error, BadCredentials):
        return  # a login that failed, and was told as one
    if isinstance(error, Unauthorized):
        if not error.problem and "authorization" not in Headers(scope=scope):
            return
    elif not isinstance(error, Denied):
        return
    detail = error.detail if isinstance(error.detail, Mapping) else {}
    asked = detail.get("action") or (isinstance(error, Unauthorized) and error.problem) or error.code
    audit.note(
        Entry(
            "request.refused",
            who=_who(scope),
            **sender(scope),
            repository=str(detail.get("name", "")),
            tag=str(detail.get("tag", "")),
            rule=error.message,
            outcome="refused",
            detail=f"{asked}: {scope['method']} {scope['path']}",
        )
    )


def note_pull(call: Call, digest: Digest, tag: Tag | None) -> None:
    """Note that a manifest was pulled, if pulls are to be noted."""
    if call.services.audit.trail.pulls:
        call.services.audit.note(_entry(call, "manifest.pulled", "pull", tag, digest=str(digest)))


def note_push(call: Call, pushed: Pushed) -> None:
    """Note that a manifest was pushed, and each tag that is new or names something else now."""
    note = call.services.audit.note
    first = pushed.tags[0] if pushed.tags else None
    told = f"tags: {', '.join(pushed.tags)}" if len(pushed.tags) > 1 else ""
    digest = str(pushed.digest)
    note(_entry(call, "manifest.pushed", "create", first, digest=digest, detail=told))
    for tag, before in pushed.replaced.items():
        if before is None:
            note(_entry(call, "tag.created", "create", tag, digest=digest))
        elif before != pushed.digest:
            note(_entry(call, "tag.overwritten", "overwrite", tag, digest=digest, replaced=str(before)))


@contextmanager
def noting_failure(call: Call, reference: Tag | Digest) -> Iterator[None]:
    """Around a push: one that fails in the middle may have set tags, and nobody would know by whom."""
    try:
        yield
    except BaseException as error:
        if not is_undone(error):
            tag = reference if isinstance(reference, Tag) else None
            digest = reference if isinstance(reference, Digest) else ""
            entry = _entry(call, "manifest.pushed", "create", tag, digest=str(digest), outcome="failed")
            call.services.audit.note(entry)
        raise


def deleting(
    call: Call, event: Event, *, tag: Tag | None = None, digest: Digest | None = None
) -> AbstractAsyncContextManager[Deed]:
    """Around a delete: kept in the store before it is done. Raises what refuses all deletes first."""
    call.repository.require_deletes()
    entry = _entry(call, event, "delete", tag, digest=str(digest or ""))
    return call.services.audit.doing(entry)


def took_along(call: Call, deed: Deed, tags: list[Tag]) -> None:
    """Say which tags went with a manifest: in its entry, and in a line each."""
    if tags:
        deed.complete(detail=f"tags: {', '.join(tags)}")
    deed.further = tuple(_entry(call, "tag.deleted", "delete", tag, digest=deed.entry.digest) for tag in tags)


def _entry(call: Call, event: Event, right: Right, tag: Tag | None, **fields: Any) -> Entry:
    return Entry(
        event,
        who=str(call.caller.principal),
        **sender(call.request.scope),
        repository=str(call.name or ""),
        tag=str(tag or ""),
        rule=call.caller.decide(right, call.name, tag).reason,
        **fields,
    )


def _who(scope: Scope) -> str:
    return str(scope.get("principal", ""))
