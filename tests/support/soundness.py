"""Whether every invariant's view is empty: what is asked after a test that has put a hub through something."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from store import invariants
from store.invariants import INVARIANTS

TIMEOUT_S = 20.0


def broken(engine: Engine, since: datetime | None = None) -> dict[str, list[str]]:
    """Code -> details of each invariant that does not hold; empty when the database is sound."""
    with engine.connect() as connection:
        return broken_in(connection, since)


def broken_in(connection: Connection, since: datetime | None = None) -> dict[str, list[str]]:
    """The same as this transaction sees it; it can write nothing afterwards."""
    found: dict[str, list[str]] = {}
    invariants.prepare(connection, TIMEOUT_S)
    for one in INVARIANTS:
        if rows := invariants.broken(connection, one, since):
            found[one.code] = [f"{row.subject}: {row.detail}" for row in rows]
    return found
