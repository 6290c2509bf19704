"""Which revision the database's schema has, and which it should have."""

from __future__ import annotations

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from store.database import alembic_config


def schema_state(engine: Engine) -> tuple[str, str]:
    """(present, newest) revision; "none" for an empty database."""
    with engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory.from_config(alembic_config(str(engine.url))).get_current_head()
    return present or "none", newest or "none"
