"""Times of the day and the week at which work is due, written as cron has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Cron:
    """Times in UTC, by the five fields of a crontab, such as `0 3 * * *`. Raises ValueError."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text.split()) != _FIELDS:
            raise ValueError(
                "must be five fields (minute, hour, day of the month, month, day of the week),"
                " like 0 3 * * * for three o'clock UTC each day"
            )
        try:
            comes = next(CronSim(self.text, datetime(2026, 1, 1, tzinfo=UTC)), None)
        except CronSimError as error:
            wrong = str(error).lower().replace("-", " ")
            raise ValueError(f"is no time as cron has it: {wrong}") from None
        if comes is None:
            raise ValueError("never comes")

    def __str__(self) -> str:
        return self.text

    def after(self, time: datetime) -> datetime:
        """The first of the times behind one that has a time zone."""
        return next(CronSim(self.text, time.astimezone(UTC)))
