"""Cases are found by every number that anybody knows them by. Only adds."""

from __future__ import annotations

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None: ...


def downgrade() -> None: ...
