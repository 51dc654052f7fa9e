"""Times as cron has them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from registry.work.cron import Cron


def test_the_next_time_is_one_of_utc_whoever_asks() -> None:
    nightly = Cron("0 3 * * *")
    assert nightly.after(datetime(2026, 1, 1, 2, 59, tzinfo=UTC)) == datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert nightly.after(datetime(2026, 1, 1, 3, tzinfo=UTC)) == datetime(2026, 1, 2, 3, tzinfo=UTC)
    elsewhere = datetime(2026, 1, 1, 4, 30, tzinfo=timezone(timedelta(hours=2)))
    assert nightly.after(elsewhere) == datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert Cron("30 6 * * mon").after(elsewhere) == datetime(2026, 1, 5, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "daily", "@daily", "61 * * * *", "* * * * ?", "0 0 3 * * *", "0 0 31 2 *"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"five fields|no time as cron"):
        Cron(text)
