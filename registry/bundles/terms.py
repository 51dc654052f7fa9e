"""What is asked of a bundle when somebody approves it: what is configured then, and what rules deny."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.bundles.errors import BundleRefused
from registry.bundles.names import Names
from registry.bundles.received import Move, Staged
from registry.errors import Denied
from registry.model.names import RepositoryName, Tag
from registry.work.operations import Reason

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey

_TOLD = 10


@dataclass(frozen=True, slots=True)
class Terms:
    """What bundles have to meet here: `required` of the `trusted` keys, and `approvals` of people.

    `names` makes names of the mappings of an import.
    """

    names: Callable[[Sequence[str]], Names]
    trusted: Callable[[], Sequence[PublicKey]]
    required: int
    approvals: int

    def require_met(self, bundle: str, staged: Staged) -> None:
        """Raises BundleRefused where a bundle that was accepted would not be by what is configured now."""
        names = self.names(staged.map)
        wrong = sorted(here for here in staged.names.values() if not names.may_have(here))
        if wrong:
            more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
            raise BundleRefused(
                f"{bundle} has images for {', '.join(wrong[:_TOLD])}{more}, where none may go any more"
                f" (bundles.import.repositories); allow it again, or reject the bundle (moorage bundle reject"
                f" {bundle})",
                detail={"repositories": wrong[:_TOLD]},
            )
        if not self.required:
            return
        trusted = {one.id for one in self.trusted()}
        good = [one for one in staged.signed_by if one in trusted]
        if len(good) >= self.required:
            return
        reject = f"reject the bundle (moorage bundle reject {bundle})"
        if lost := [one for one in staged.signed_by if one not in trusted]:
            todo = f"put back {', '.join(lost)}, which signed it, or {reject}"
        else:
            todo = f"{reject}, and have its images written as one that is signed so"
        raise BundleRefused(
            f"{bundle} is signed by {len(good)} of the keys that are in bundles.import.trusted_keys now, and"
            f" {self.required} must have signed it: {todo}",
            detail={"required": self.required, "found": good},
        )


async def require_undenied(moves: AsyncIterator[Move], denial: Reason) -> None:
    """Raises Denied for the first of the moves that a rule denies to who approves them.

    Grants are not asked for: to approve is a right of its own.
    """
    async for move in moves:
        right = "delete" if move.new is None else "create" if move.old is None else "overwrite"
        name, tag = RepositoryName(move.repository), Tag(move.tag)
        if (why := denial(right, name, tag)) is not None:
            raise Denied(
                f"{why}; nothing was approved: have somebody approve it who may, or reject it",
                detail={"action": right, "name": name, "tag": tag},
            )
