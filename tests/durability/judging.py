"""What is wrong with a tree, by what clients were told."""

from __future__ import annotations

from registry.upkeep.crash.ledger import Ledger
from tests.durability.reader import Seen


def wrong(seen: Seen, ledger: Ledger) -> list[str]:
    """The facts that are not as somebody was told, and what is half-made."""
    lost = [
        f"{fact.which}: gone, and not in the trash"
        for fact in ledger.may_be
        if fact.kind == "trash" and str(fact) not in seen.facts
        if f"{fact.which.replace(' ', f' {fact.repository} ')}" not in seen.facts
    ]
    hurt = ledger.hurt()
    damaged = [problem for digest, problem in seen.hurt.items() if digest not in hurt]
    return [*seen.half, *damaged, *lost] + [
        f"{fact} is {seen.facts.get(str(fact))}, and may be {may_be}"
        for fact, may_be in ledger.may_be.items()
        if seen.facts.get(str(fact)) not in may_be
    ]
