"""Master data: catalogues, dictionaries, mappings, people, imports; a policy may have several periods. Only adds."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_HASH = "keyed hash of identity type and number"
_NAME_HASH = "keyed hash of the normalised name"


def upgrade() -> None:
    op.create_table(
        "import_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="the file's name, or the number of the message's request"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the file, or of the message's content"),
        sa.Column("operator", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "phase", sa.Text(), server_default=sa.text("''"), nullable=False, comment="where it is, or where it ended"
        ),
        sa.Column("rows_read", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_new", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_unchanged", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("problem_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "problems",
            postgresql.JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
            comment="the first of them, no values",
        ),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "seen_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the last sign of life",
        ),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="import_run_pk"),
        sa.CheckConstraint("source IN ('file', 'message')", name="import_run_source_is_known"),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'refused', 'failed', 'died')", name="import_run_state_is_known"
        ),
        sa.CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="import_run_has_an_end"),
    )
    op.create_index(
        "one_import_per_file",
        "import_run",
        ["kind", "owner", "sha256"],
        unique=True,
        postgresql_where=sa.text("state = 'done' AND source = 'file'"),
    )
    op.create_index("import_run_running", "import_run", ["id"], postgresql_where=sa.text("state = 'running'"))
    _catalogues()
    _organisations()
    _people()
    op.drop_constraint("coverage_pk", "coverage", type_="primary")
    op.create_primary_key("coverage_pk", "coverage", ["person_key", "product", "policy_no", "valid_from"])


def _catalogues() -> None:
    _versions(
        "catalogue_item",
        sa.Column("list_type", sa.Text(), nullable=False),
        sa.Column("item_code", sa.Text(), nullable=False),
        sa.Column("item_name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("price_max", sa.Numeric(), nullable=True),
        sa.Column("self_pay", sa.Numeric(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        key=["list_type", "item_code"],
        found_by=["item_code"],
    )
    _versions(
        "item_mapping",
        sa.Column("payer", sa.Text(), nullable=False, comment="empty: from a hospital's code to the national one"),
        sa.Column("list_type", sa.Text(), nullable=False),
        sa.Column("local_code", sa.Text(), nullable=False),
        sa.Column("local_name", sa.Text(), nullable=False),
        sa.Column("item_code", sa.Text(), nullable=False),
        key=["payer", "list_type", "local_code"],
        found_by=["owner", "local_code"],
    )
    _versions(
        "disease",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        key=["code"],
        found_by=["code"],
    )


def _organisations() -> None:
    _versions(
        "institution_record",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        key=["code"],
    )
    _versions(
        "staff_member",
        sa.Column("institution", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        key=["institution", "code"],
        found_by=["institution", "code"],
    )


def _people() -> None:
    _versions(
        "insured_person",
        sa.Column("person_key", sa.Text(), nullable=False, comment=_HASH),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("insurance_type", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False, comment=_NAME_HASH),
        sa.Column("sex", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=True, comment="only where the identity number does not tell it"),
        sa.Column("person_no", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        key=["person_key", "region", "insurance_type"],
        found_by=["person_key"],
    )
    _versions(
        "enrolment",
        sa.Column("person_key", sa.Text(), nullable=False, comment=_HASH),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("policy_no", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False, comment=_NAME_HASH),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("sum_insured_fen", sa.BigInteger(), nullable=True),
        key=["person_key", "product", "policy_no"],
        found_by=["person_key"],
    )
    _versions(
        "blacklist_entry",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="a code; of a person the keyed hash of the identity number"
        ),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        key=["kind", "subject"],
        found_by=["kind", "subject"],
    )


def _versions(name: str, *columns: sa.Column[Any], key: list[str], found_by: list[str] | None = None) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=True),
        *columns,
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"{name}_pk"),
        sa.CheckConstraint("valid_until >= valid_from", name=f"{name}_ends_after_it_begins"),
    )
    current = sa.text("replaced_by IS NULL")
    op.create_index(f"{name}_versions", name, ["owner", *key, "valid_from"], unique=True, postgresql_where=current)
    if found_by:
        op.create_index(f"{name}_lookup", name, found_by, postgresql_where=current)


def downgrade() -> None:
    # Of a policy with several periods the newest stays.
    op.execute(
        "DELETE FROM coverage c USING coverage d WHERE c.person_key = d.person_key AND c.product = d.product "
        "AND c.policy_no = d.policy_no AND c.valid_from < d.valid_from"
    )
    op.drop_constraint("coverage_pk", "coverage", type_="primary")
    op.create_primary_key("coverage_pk", "coverage", ["person_key", "product", "policy_no"])
    for name in (
        "blacklist_entry",
        "enrolment",
        "insured_person",
        "staff_member",
        "institution_record",
        "disease",
        "item_mapping",
        "catalogue_item",
        "import_run",
    ):
        op.drop_table(name)
