"""Clocks, the only places that ask for the time of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from sqlalchemy import Engine, text

log = structlog.get_logger()

JUMP_S = 2.0
"""A step of the database's clock, or a pause of this machine, that somebody should hear of."""
_NOW = text("SELECT clock_timestamp()")


class SystemClock:
    """`now()` of this machine in UTC with zone: for commands that run once."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class DatabaseClock:
    """`now()` of the database, carried on by this machine's steady timer between two looks.

    Deadlines and appointments are written by one process and kept by another: with clocks an hour apart a case would
    wait that hour for its answer. So all processes go by the one clock that they share, whatever their machines say.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Asks the database only before its first answer; OperationalError when it is away then."""
        if self._seen is None:
            self.look()
        assert self._seen is not None
        moment, at = self._seen
        return moment + timedelta(seconds=monotonic() - at)

    def look(self) -> int:
        """Set this clock by the database's; for a sweep, which has done nothing."""
        with self._engine.connect() as connection:
            # Only the statement itself, not the wait for a connection, lies between the two readings.
            before = monotonic()
            moment = connection.execute(_NOW).scalar_one()
            after = monotonic()
        seen, self._seen = self._seen, (moment.astimezone(UTC), (before + after) / 2)
        if seen is not None:
            step_s = (moment - seen[0]).total_seconds() - (self._seen[1] - seen[1])
            if abs(step_s) > max(JUMP_S, after - before):
                log.warning("clock_jumped", seconds=round(step_s, 3))
        return 0
