"""Products whose rules the hub carries: claims and accumulators, and their invariants. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

VIEWS: dict[str, str] = {
    "invariant_i20_accumulators_are_their_claims": """SELECT a.changed_at AS at, CAST(NULL AS uuid) AS case_id,
    'accumulator/' || a.product || '/' || a.policy_no || '/' || a.year || '/' || left(a.person_key, 8) AS subject,
    'says ' || a.visits || ' visits, deductible ' || a.deductible_fen || ', counted ' || a.counted_fen || ', paid '
        || a.paid_fen || ' fen; its standing claims are ' || s.visits || ', ' || s.deductible_fen || ', '
        || s.counted_fen || ', ' || s.paid_fen AS detail
FROM accumulator a
CROSS JOIN LATERAL (
    SELECT count(*) AS visits, coalesce(sum(h.deductible_fen), 0) AS deductible_fen,
           coalesce(sum(h.counted_fen), 0) AS counted_fen, coalesce(sum(h.amount_fen), 0) AS paid_fen
    FROM hosted_claim h
    WHERE h.state = 'approved' AND h.product = a.product AND h.person_key = a.person_key
      AND (a.year = 0 OR (h.policy_no = a.policy_no AND h.year = a.year))
) AS s
WHERE s.visits <> a.visits OR s.deductible_fen <> a.deductible_fen OR s.counted_fen <> a.counted_fen
   OR s.paid_fen <> a.paid_fen
UNION ALL
SELECT h.settled_at, h.case_id, 'hosted_claim/' || h.request_id, 'stands, and no accumulator counts it'
FROM hosted_claim h
WHERE h.state = 'approved' AND 2 <> (
    SELECT count(*) FROM accumulator a
    WHERE a.product = h.product AND a.person_key = h.person_key
      AND ((a.policy_no = '' AND a.year = 0) OR (a.policy_no = h.policy_no AND a.year = h.year)))""",
    "invariant_i21_hosted_claims_and_legs_agree": """SELECT h.settled_at AS at, h.case_id, 'leg/' || h.case_id || '/' || l.leg_no AS subject,
    found.detail
FROM hosted_claim h
JOIN settlement_leg l ON l.case_id = h.case_id AND replace(l.case_id::text, '-', '') || '-' || l.leg_no = h.request_id
CROSS JOIN LATERAL (
    SELECT 'approved with ' || l.amount_fen || ' fen, and the claim is ' || h.state || ' with ' || h.amount_fen
    WHERE l.state = 'approved' AND (h.state <> 'approved' OR h.amount_fen <> l.amount_fen)
    UNION ALL
    SELECT l.state || ', and its claim stands with ' || h.amount_fen || ' fen'
    WHERE l.state IN ('declined', 'not_needed', 'cancelled', 'reversed') AND h.state = 'approved'
) AS found(detail)
WHERE NOT EXISTS (
    SELECT 1 FROM operator_action o WHERE o.subject = 'leg/' || h.case_id || '/' || l.leg_no
      AND o.state = 'executed' AND o.kind IN ('doubt.approve', 'doubt.decline', 'doubt.undone'))""",
}


def upgrade() -> None:
    _claims()
    _accumulators()
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def _claims() -> None:
    op.create_table(
        "hosted_claim",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("case_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False, comment="empty where an undo came before its claim"),
        sa.Column("person_key", sa.Text(), nullable=False, comment="keyed hash of identity type and number"),
        sa.Column("policy_no", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False, comment="the benefit year that it counts in"),
        sa.Column("service_day", sa.Date(), nullable=True),
        sa.Column("rulebook_version", sa.Integer(), nullable=False, comment="whose terms were applied"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "deductible_fen",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="of the year's, used up",
        ),
        sa.Column(
            "counted_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="beyond the deductible"
        ),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="as it was given, with the trace"),
        sa.Column("settled_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("undone_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("undo_request_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="hosted_claim_pk"),
        sa.CheckConstraint(
            "state IN ('approved', 'declined', 'deferred', 'cancelled', 'blocked')", name="hosted_claim_state_is_known"
        ),
        sa.CheckConstraint(
            "amount_fen >= 0 AND deductible_fen >= 0 AND counted_fen >= 0", name="hosted_claim_amounts_not_negative"
        ),
        sa.CheckConstraint(
            "state IN ('approved', 'cancelled') OR (amount_fen = 0 AND deductible_fen = 0 AND counted_fen = 0)",
            name="hosted_claim_amounts_only_with_effect",
        ),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'blocked')) = (undone_at IS NOT NULL)", name="hosted_claim_undone_has_its_moment"
        ),
    )
    op.create_index(
        "hosted_claim_standing",
        "hosted_claim",
        ["product", "person_key"],
        postgresql_where=sa.text("state = 'approved'"),
    )
    op.create_index("hosted_claim_by_case", "hosted_claim", ["case_id"])
    op.create_index("hosted_claim_by_moment", "hosted_claim", ["settled_at"])


def _accumulators() -> None:
    op.create_table(
        "accumulator",
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("person_key", sa.Text(), nullable=False, comment="keyed hash of identity type and number"),
        sa.Column("policy_no", sa.Text(), nullable=False),
        sa.Column(
            "year", sa.Integer(), nullable=False, comment="0, without a policy: everything that this person ever had"
        ),
        sa.Column("visits", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deductible_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("product", "person_key", "policy_no", "year", name="accumulator_pk"),
        sa.CheckConstraint(
            "visits >= 0 AND deductible_fen >= 0 AND counted_fen >= 0 AND paid_fen >= 0",
            name="accumulator_not_negative",
        ),
    )
    op.create_index("accumulator_by_moment", "accumulator", ["changed_at"])


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_table("accumulator")
    op.drop_table("hosted_claim")
