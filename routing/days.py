"""Business days are days of China Standard Time, wherever a process runs."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
"""Nobody's books have days before or after; days around them can be counted."""
CHINA_STANDARD_TIME = timezone(timedelta(hours=8), "CST")


def day_of(moment: datetime) -> date:
    """The day of a moment in China Standard Time."""
    return moment.astimezone(CHINA_STANDARD_TIME).date()


AHEAD_MAX = timedelta(days=1)
"""So far somebody's clock may be ahead of ours; further it is wrong, and no day of our books."""


def believed(moment: datetime | None, now: datetime) -> datetime:
    """When something happened by the word of who did it; ours where that is missing, still to come, or in nobody's
    books: a clock that has lost its battery begins in 1970."""
    if moment is None or moment > now + AHEAD_MAX or day_of(moment) < FIRST_DAY:
        return now
    return moment


BEHIND_MAX = timedelta(minutes=10)
"""So far somebody's clock may be behind ours without being disbelieved about an undo."""


def undone_at(moment: datetime | None, asked_at: datetime | None, now: datetime) -> datetime:
    """When an undo happened by the word of who did it; not before it was asked for, where that is known.

    Some answer an undo with the moment of what they undid: their refund would lie on the day of the settlement.
    """
    at = believed(moment, now)
    return asked_at if asked_at is not None and at < asked_at - BEHIND_MAX else at
