"""Persons and files of hospitals that speak the national envelope. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "national_file",
        sa.Column("file_no", sa.Text(), nullable=False),
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("valid_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("file_no", name="national_file_pk"),
    )
    op.create_index("national_file_by_end", "national_file", ["valid_until"])
    op.create_table(
        "national_person",
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column(
            "person_no", sa.Text(), nullable=False, comment="psn_no, which later messages name instead of the person"
        ),
        sa.Column(
            "person",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="as the institution asked and was answered",
        ),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("institution", "person_no", name="national_person_pk"),
    )


def downgrade() -> None:
    op.drop_table("national_person")
    op.drop_table("national_file")
