"""The checks that 0002 made hold for stored rows too: read under a lock that keeps nobody from working."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settlement_leg VALIDATE CONSTRAINT leg_state_is_known")
    op.execute("ALTER TABLE settlement_case VALIDATE CONSTRAINT case_total_is_positive")


def downgrade() -> None: ...
