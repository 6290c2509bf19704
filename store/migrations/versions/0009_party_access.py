"""Which parties may come in. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "party_access",
        sa.Column("party", sa.Text(), nullable=False, comment="a party without a row may come in with its first token"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "token_generation",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="older tokens are refused",
        ),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("party", name="party_access_pk"),
        sa.CheckConstraint("token_generation >= 0", name="party_access_generation"),
    )


def downgrade() -> None:
    op.drop_table("party_access")
