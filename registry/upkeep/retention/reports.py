"""What retention has done or would do: kept in the store, where whoever asks finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from registry.store.store import Store
from registry.upkeep.reports import SHOWN_TROUBLES, TROUBLES, Kept
from registry.work.reports import ReportsOf, append, listed

BY = "retention"
_DECISIONS = 10_000
_KEPT_DECISIONS = 1000
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a tag, or of a manifest that no tag leads to, and by which rule or for which reason.

    `tag` is empty for a manifest; a repository that has nothing in it has no `digest` either.
    """

    repository: str
    tag: str
    digest: str
    stays: bool
    rule: str
    reason: str

    @property
    def reference(self) -> str:
        """How people name it."""
        if self.tag:
            return f"{self.repository}:{self.tag}"
        return f"{self.repository}@{self.digest}" if self.digest else self.repository

    @property
    def why(self) -> str:
        """The reason, and whose it is."""
        return f"{self.reason} ({self.rule})" if self.rule else self.reason

    @property
    def for_the_record(self) -> str:
        """The rule and the reason, as whoever looks into the trash is told."""
        rule = self.rule if self.rule.startswith("rule ") else f"rule {self.rule}"
        return f"{rule} ({self.reason})" if self.rule else self.reason


@dataclass(slots=True)
class Retention:
    """What a run of retention found and did.

    `stopped` says of what it removed nothing, and why; with `failed` it could not do its work at all. `waits`
    is why nothing goes that has no tag. A run that removes nothing lists each tag in `decisions`; others list
    what has gone.
    """

    began: datetime
    by: str
    dry_run: bool
    ended: datetime | None = None
    repositories_asked: str = "**"
    after: str = ""
    repositories: int = 0
    tags: int = 0
    tags_gone: int = 0
    manifests: int = 0
    manifests_gone: int = 0
    repositories_gone: int = 0
    stopped: list[str] = field(default_factory=list)
    failed: bool = False
    waits: str = ""
    decisions: list[Decided] = field(default_factory=list)
    decisions_left_out: int = 0
    troubles: list[Kept] = field(default_factory=list)
    troubles_left_out: int = 0

    def begin_removing(self) -> None:
        """From now on it counts, and lists, what has gone."""
        self.tags_gone = self.manifests_gone = self.repositories_gone = 0
        self.decisions, self.decisions_left_out = [], 0

    def decide(self, one: Decided) -> None:
        """Note what becomes of something; a long list ends in a number."""
        self.decisions_left_out += append(self.decisions, one, _DECISIONS)

    def trouble(self, one: Kept) -> None:
        """Note what was left alone for its state."""
        self.troubles_left_out += append(self.troubles, one, TROUBLES)

    def told(self, *, brief: bool = False) -> str:
        """A table of what goes, and how many stay for which reason.

        Of a dry run it has a line for each tag, with the rule that decides, unless it is to be `brief`.
        """
        went = "would remove" if self.dry_run else "removed"
        lines = [f"not removed: {reason}" for reason in self.stopped]
        lines += [f"not removed: {self.waits}"] if self.waits else []
        lines.append(
            f"{went} tags: {self.tags_gone} of {self.tags}; manifests that no tag leads to:"
            f" {self.manifests_gone}; empty repositories: {self.repositories_gone}"
        )
        whole = self.dry_run and not brief
        shown = [one for one in self.decisions if whole or not one.stays]
        lines += listed(_table(shown), len(shown) if whole else _SHOWN)
        stays = Counter(one.why for one in self.decisions if one.stays)
        if (
            self.dry_run
            and (others := self.tags - self.tags_gone - stays.total() - self.decisions_left_out) > 0
        ):
            stays["no rule is about it"] += others
        if stays:
            lines.append("tags that stay, by what keeps them:")
            lines += [f"  {count}  {why}" for why, count in stays.most_common(_SHOWN)]
        if self.decisions_left_out:
            lines.append(
                f"decisions that are not listed: {self.decisions_left_out} (name fewer repositories)"
            )
        if self.troubles:
            lines.append("left alone for what could not be read:")
            left = [f"  {one.repository}: {one.problem}" for one in self.troubles]
            lines += listed(left, SHOWN_TROUBLES, self.troubles_left_out)
        return "\n".join(lines)


def _table(decided: Sequence[Decided]) -> list[str]:
    """A line each, in columns: what it is, what becomes of it, by which rule, and why."""
    rows = [(one.reference, "stays" if one.stays else "goes", one.rule or "-") for one in decided]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [
        "  ".join(["", *(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), one.reason])
        for row, one in zip(rows, decided, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class TagExplained:
    """Whether a tag stays, by which rule or for which reason, and which `rules` are about it at all.

    `pushed` and the day of the last pull (`pulled`) are told where a rule asks for them. Without `enforced`
    nothing goes, whatever the rules say.
    """

    repository: str
    tag: str
    digest: str
    stays: bool
    rule: str
    reason: str
    rules: list[str]
    pushed: datetime | None
    pulled: str | None
    enforced: bool

    def told(self) -> str:
        """What becomes of it first."""
        verb = "stays" if self.stays else ("goes" if self.enforced else "would go, were the rules enforced")
        whose = f" ({self.rule})" if self.rule else ""
        lines = [f"{self.repository}:{self.tag} {verb}: {self.reason}{whose}", f"it names {self.digest}"]
        if self.pushed is not None:
            pulled = self.pulled or "no pull is known"
            lines.append(f"pushed {self.pushed:%Y-%m-%d %H:%M:%S}, last pulled: {pulled}")
        lines.append(f"rules about it: {', '.join(self.rules) or 'none'}")
        return "\n".join(lines)


class Retentions(ReportsOf[Retention]):
    """The reports of one store's runs of retention."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "retention", Retention)

    async def keep(self, key: str, report: Retention) -> None:
        """Save a report, with not all of a long list: every server reads the last ones to see what is due."""
        kept = report.decisions[:_KEPT_DECISIONS]
        left_out = report.decisions_left_out + len(report.decisions) - len(kept)
        await self.save(key, replace(report, decisions=kept, decisions_left_out=left_out))
