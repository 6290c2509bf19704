"""Whether every invariant's view is empty: what is asked after a test that has put a hub through something."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from store import invariants
from store.invariants import INVARIANTS

TIMEOUT_S = 20.0


def broken(engine: Engine, since: datetime | None = None) -> dict[str, list[str]]:
    """Code -> details of each invariant that does not hold; empty when the database is sound."""
    found: dict[str, list[str]] = {}
    for one in INVARIANTS:
        with engine.connect() as connection:
            invariants.prepare(connection, TIMEOUT_S)
            if rows := invariants.broken(connection, one, since):
                found[one.code] = [f"{row.subject}: {row.detail}" for row in rows]
    return found
