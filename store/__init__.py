"""The database: tables, unit of work, inbox and outbox, set-based statements, migrations. PostgreSQL only."""
