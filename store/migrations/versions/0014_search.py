"""Cases are found by every number that anybody knows them by. Adds, and turns one index round."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# What stood before is found by what the database itself knows of it; visits and persons only from now on. The hash is
# the one of `store.search.key_of`.
KEY = "CAST(CAST('x' || encode(substr(sha256(convert_to('{name}:' || {value}, 'UTF8')), 1, 8), 'hex') AS bit(64)) AS bigint)"
STANDS = (
    "SELECT {key}, case_id, region FROM settlement_case",
    "SELECT {key}, case_id, region FROM settlement_leg WHERE policy_no IS NOT NULL",
    "SELECT {key}, case_id, region FROM settlement_leg l CROSS JOIN LATERAL ("
    "SELECT l.payer_reference AS part UNION SELECT regexp_split_to_table(l.payer_reference, '/')) AS r "
    "WHERE l.payer_reference <> '' AND r.part <> ''",
)
NAMES = (("message", "correlation_id"), ("policy", "policy_no"), ("reference", "r.part"))


def upgrade() -> None:
    op.create_table(
        "search_key",
        sa.Column("key", sa.BigInteger(), nullable=False, comment="first eight bytes of SHA-256 over kind and name"),
        sa.Column("case_id", postgresql.UUID(as_uuid=False), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
    )
    for (name, value), rows in zip(NAMES, STANDS, strict=True):
        key = KEY.format(name=name, value=value)
        op.execute(f"INSERT INTO search_key (key, case_id, region) {rows.format(key=key)}")
    op.create_index("search_key_by_key", "search_key", ["key", "case_id"])
    op.create_index("case_undo_by_number", "case_undo", ["cancel_no"])
    op.create_index("case_undo_by_message", "case_undo", ["correlation_id"])
    op.create_index(
        "message_number_by_time",
        "message_number",
        ["at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    _turn("case_key", "institution")


def downgrade() -> None:
    _turn("institution", "case_key")
    op.drop_index("message_number_by_time", "message_number")
    op.drop_index("case_undo_by_message", "case_undo")
    op.drop_index("case_undo_by_number", "case_undo")
    op.drop_table("search_key")


def _turn(*columns: str) -> None:
    """The same key, the other column first: it finds a number whoever's it is, too."""
    op.execute(f"CREATE UNIQUE INDEX settlement_number_turned ON settlement_case ({', '.join(columns)})")
    op.drop_constraint("one_case_per_settlement_number", "settlement_case")
    op.execute(
        "ALTER TABLE settlement_case ADD CONSTRAINT one_case_per_settlement_number "
        "UNIQUE USING INDEX settlement_number_turned"
    )
