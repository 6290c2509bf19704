"""Business days are days of China Standard Time, wherever a process runs."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
"""Nobody's books have days before or after; days around them can be counted."""
CHINA_STANDARD_TIME = timezone(timedelta(hours=8), "CST")


def day_of(moment: datetime) -> date:
    """The day of a moment in China Standard Time."""
    return moment.astimezone(CHINA_STANDARD_TIME).date()
