"""Other days than today: the clocks of a demo's database, and so of its hub, and of its parties, set to a moment.

Everything in the hub goes by the database's clock. The demo's own database has functions of the same names that are
found first and add how far we are ahead; nothing of the hub knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import orjson
import psycopg2
import urllib3
from sqlalchemy import Engine, text

_SET_UP = """
CREATE TABLE IF NOT EXISTS demo_clock (ahead interval NOT NULL);
INSERT INTO demo_clock SELECT interval '0' WHERE NOT EXISTS (SELECT FROM demo_clock);
CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM public.demo_clock)';
CREATE OR REPLACE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT pg_catalog.now() + (SELECT ahead FROM public.demo_clock)';
DO $$
DECLARE
    dated record;
BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
    FOR dated IN SELECT table_name, column_name FROM information_schema.columns
                 WHERE table_schema = 'public' AND column_default LIKE '%now()' LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT public.now()', dated.table_name, dated.column_name);
    END LOOP;
END $$;
"""
_AHEAD = text("UPDATE demo_clock SET ahead = make_interval(secs => :seconds)")


def set_up(url: str) -> None:
    """Give a database a clock that can be set; before its views are made, which keep the `now` that they know."""
    connection = psycopg2.connect(url.replace("postgresql+psycopg2:", "postgresql:"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_SET_UP)
    finally:
        connection.close()


class DemoClock:
    """The one clock of a demo. Its database, on this machine, and its parties go by it at once; a hub that runs notices
    within seconds."""

    def __init__(self, engine: Engine, control: Mapping[str, str]) -> None:
        self._engine = engine
        self._control = control
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC) + self._ahead

    def set(self, moment: datetime) -> None:
        """Let it be `moment` for the database and for the parties; ValueError when they take no clock."""
        self._ahead = moment - datetime.now(UTC)
        seconds = self._ahead.total_seconds()
        with self._engine.begin() as connection:
            connection.execute(_AHEAD, {"seconds": seconds})
        # All parties are one process: whoever is asked sets the clock of all.
        address = next(iter(self._control.values()))
        answer = urllib3.request("POST", f"{address}/sandbox/clock", body=orjson.dumps({"ahead_s": seconds}))
        if answer.status != 200:
            raise ValueError(f"the parties take no clock: {answer.data!r}")
