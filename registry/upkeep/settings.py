"""What an operator may set about collection and the trash."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from registry.model.selection import Selection, TagSelector
from registry.settings import Duration, Settings, Size
from registry.settings.selections import Repositories, Tags

Count = Annotated[int, Field(ge=1)]
Days = Annotated[Duration, Field(ge=timedelta(days=1))]


class CollectionSettings(Settings):
    """Collection of what nothing needs any more."""

    enabled: bool = True
    interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    grace_period: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=1)
    requests_per_second: Annotated[int, Field(ge=0)] = 2000


class TrashSettings(Settings):
    """How long, and how much, the trash keeps; nothing leaves it younger than a day."""

    keep_for: Annotated[Duration, Field(ge=timedelta(days=1))] = timedelta(days=7)
    max_size: Annotated[Size, Field(ge=0)] | None = None


class ScrubSettings(Settings):
    """Reading everything again, to find what has been damaged."""

    # None: on a disk, which nobody else looks after and where reading costs nothing.
    enabled: bool | None = None
    interval: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=30)
    bytes_per_second: Annotated[Size, Field(ge=0)] = 20 << 20


class RetentionRule(Settings):
    """Which tags stay in some repositories: those that `always` or one of the limits keeps; the others go.

    A rule without limits says nothing about tags. What has had no tag for `untagged_for` goes, and with
    `empty` a repository that has nothing in it.
    """

    name: Annotated[str, Field(max_length=100)] = ""
    repositories: Annotated[tuple[Repositories, ...], Field(min_length=1)]
    tags: Annotated[tuple[Tags, ...], Field(min_length=1)] = (TagSelector("*"),)
    always: tuple[Tags, ...] = ()
    newest_pushed: Count | None = None
    newest_pulled: Count | None = None
    newest_versions: Count | None = None
    pushed_within: Days | None = None
    pulled_within: Days | None = None
    untagged_for: Days | None = None
    empty: bool = False

    @property
    def limits_tags(self) -> bool:
        """Whether the rule lets any tag go."""
        limits = (
            self.newest_pushed,
            self.newest_pulled,
            self.newest_versions,
            self.pushed_within,
            self.pulled_within,
        )
        return any(limit is not None for limit in limits)

    @property
    def goes_by_pulls(self) -> bool:
        """Whether it matters to the rule what was pulled."""
        return not (self.newest_pulled is None and self.pulled_within is None and self.untagged_for is None)

    @property
    def selection(self) -> Selection:
        """What the rule is about."""
        return Selection(self.repositories, self.tags)

    @model_validator(mode="after")
    def _says_something(self) -> RetentionRule:
        if not (self.limits_tags or self.untagged_for or self.empty):
            raise ValueError(
                "a rule needs what it keeps (newest_pushed, newest_pulled, newest_versions, pushed_within or"
                " pulled_within), or untagged_for, or empty; `always` alone would let all else go"
            )
        of_tags = sorted(self.model_fields_set & {"tags", "always"})
        if of_tags and not self.limits_tags:
            raise ValueError(
                f"{' and '.join(of_tags)} say nothing beside untagged_for and empty, which are about what has"
                " no tag; make it two rules"
            )
        return self


class InUseList(Settings):
    """A file that lists what runs; while it is missing or older than `max_age`, nothing is removed."""

    file: Path
    max_age: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)


class RetentionSettings(Settings):
    """Which tags go by themselves; nothing does without `rules`, nor unless it is to `enforce` them."""

    enforce: bool = False
    interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    max_delete_percent: Annotated[int, Field(ge=0, le=100)] = 20
    in_use: tuple[InUseList, ...] = ()
    rules: tuple[RetentionRule, ...] = ()

    @model_validator(mode="after")
    def _can_tell_them_apart(self) -> RetentionSettings:
        names = [rule.name for rule in self.rules if rule.name]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"two rules have the name {min(twice)}; reports would not tell which of them decided"
            )
        return self


class UsageSettings(Settings):
    """What is known of how the registry is used, for how long, and counting what repositories hold."""

    keep_pulls_for: Annotated[Duration, Field(ge=timedelta(days=7))] = timedelta(days=400)
    enabled: bool = True
    interval: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=1)
    requests_per_second: Annotated[int, Field(ge=0)] = 2000


class UpkeepSettings(Settings):
    """Upkeep of the store."""

    gc: CollectionSettings = CollectionSettings()
    usage: UsageSettings = UsageSettings()
    trash: TrashSettings = TrashSettings()
    scrub: ScrubSettings = ScrubSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _knows_pulls_for_long_enough(self) -> UpkeepSettings:
        for rule in self.retention.rules:
            for name, span in (("pulled_within", rule.pulled_within), ("untagged_for", rule.untagged_for)):
                if span is not None and span + timedelta(days=2) > self.usage.keep_pulls_for:
                    raise ValueError(
                        f"retention.rules has a {name} that is longer than pulls are known; raise"
                        " usage.keep_pulls_for to two days more than that"
                    )
        return self
