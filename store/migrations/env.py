"""Alembic's entry: runs each step in a transaction of its own on the URL that `store.database` supplies."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from store import (
    tables_funds,
    tables_hosted,
    tables_ledger,
    tables_master,
    tables_national,
    tables_parties,
    tables_recon,
    tables_search,
    tables_staging,
    tables_visits,
)
from store.database import MIGRATION_LOCK_TIMEOUT_MS
from store.tables import metadata

DECLARED = (
    tables_hosted,
    tables_master,
    tables_visits,
    tables_parties,
    tables_national,
    tables_staging,
    tables_ledger,
    tables_recon,
    tables_funds,
    tables_search,
)
"""Modules that add their tables to the metadata when they are imported."""
ONE_AT_A_TIME = 7_204_117_003
"""Key of the lock that keeps two upgrades of one database apart; others are hashes, see `store.requests`."""

engine = create_engine(
    context.config.attributes["url"],
    poolclass=NullPool,
    connect_args={"options": f"-c lock_timeout={MIGRATION_LOCK_TIMEOUT_MS}", "application_name": "hub-migration"},
)
with engine.connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ONE_AT_A_TIME})
    connection.commit()
    context.configure(
        connection=connection, target_metadata=metadata, compare_server_default=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
