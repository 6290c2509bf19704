"""The system's clock, the only place that asks for the time of day."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """`now()` in UTC with zone."""

    def now(self) -> datetime:
        return datetime.now(UTC)
