"""A rule book in a test's database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from store import rulebooks
from store.database import open_engine


def put_in_force(database: str | Engine, content: str) -> None:
    """Store a rule book and let it hold from a second ago."""
    engine = open_engine(database, application="test") if isinstance(database, str) else database
    with engine.begin() as connection:
        version = rulebooks.add(connection, "test", content)
        rulebooks.activate(connection, version, datetime.now(UTC) - timedelta(seconds=1))
    if engine is not database:
        engine.dispose()
