"""Answers on their way to staging tables, for hospitals that write into a database. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "staging_due",
        sa.Column("party", sa.Text(), nullable=False, comment="whose staging table is to hear of it"),
        sa.Column("case_id", postgresql.UUID(as_uuid=False), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="of the newest answer; removed when the table has it"
        ),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("party", "case_id", name="staging_due_pk"),
    )
    op.create_index("staging_due_by_age", "staging_due", ["party", "since"])


def downgrade() -> None:
    op.drop_table("staging_due")
