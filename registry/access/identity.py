"""The registry's own name in its tokens: random, and another one in any copy of the store."""

from __future__ import annotations

import secrets

from registry.access.vault import IDENTITY, Document, Vault


class _Same(Exception):
    """Nothing is to be changed."""


async def identify(vault: Vault, place: str | None, *, may_write: bool) -> str:
    """The name of this registry; a new one where there is none yet, or in a copy.

    `place` tells where this store lies, as far as that can be known: a copy lies elsewhere, and so a
    registry on it (for trying things out, say) cannot make tokens that the original believes.
    """

    def change(before: Document | None) -> Document:
        if before is None:
            return {"id": secrets.token_hex(16), "place": place}
        if place is None or before["place"] == place:
            raise _Same
        if before["place"] is None:
            return {**before, "place": place}
        return {"id": secrets.token_hex(16), "place": place}

    if may_write:
        try:
            return str((await vault.revise(*IDENTITY, change))["id"])
        except _Same:
            pass
    document = await vault.latest(*IDENTITY)
    # A store that may not be written and was never anybody's registry: good until the end of this process.
    return secrets.token_hex(16) if document is None else str(document["id"])
