"""The tables of master data; see `store.tables`.

Every kind has the same frame. A row is one version of what its key (`owner` and what the kind is found by) means from
`valid_from` to `valid_until`, both included. Versions of one key never overlap: a new one ends the one before it the
day before it begins. A correction for the same first day replaces the version: `replaced_by` names the import that did,
and the row stays as history. `scope` is the region whose settlements the row concerns: empty for all of them, NULL for
an insurer's own data, which concerns none but itself.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables import Moment, metadata

_CURRENT = text("replaced_by IS NULL")


def _versions(name: str, *columns: Column[Any], key: tuple[str, ...], found_by: tuple[str, ...] = ()) -> Table:
    indexes = [Index(f"{name}_versions", "owner", *key, "valid_from", unique=True, postgresql_where=_CURRENT)]
    if found_by:
        indexes.append(Index(f"{name}_lookup", *found_by, postgresql_where=_CURRENT))
    return Table(
        name,
        metadata,
        Column("id", BigInteger, Identity(always=True), nullable=False),
        Column("owner", Text, nullable=False),
        Column("scope", Text, nullable=True),
        *columns,
        Column("valid_from", Date, nullable=False),
        Column("valid_until", Date, nullable=True),
        Column("import_id", BigInteger, nullable=False),
        Column("replaced_by", BigInteger, nullable=True),
        PrimaryKeyConstraint("id", name=f"{name}_pk"),
        CheckConstraint("valid_until >= valid_from", name=f"{name}_ends_after_it_begins"),
        *indexes,
    )


catalogue_items = _versions(
    "catalogue_item",
    Column("list_type", Text, nullable=False),
    Column("item_code", Text, nullable=False),
    Column("item_name", Text, nullable=False),
    Column("category", Text, nullable=True),
    Column("level", Text, nullable=False),
    Column("price_max", Numeric, nullable=True),
    Column("self_pay", Numeric, nullable=True),
    Column("spec", Text, nullable=True),
    Column("unit", Text, nullable=True),
    key=("list_type", "item_code"),
    found_by=("item_code",),
)

mappings = _versions(
    "item_mapping",
    Column("payer", Text, nullable=False, comment="empty: from a hospital's code to the national one"),
    Column("list_type", Text, nullable=False),
    Column("local_code", Text, nullable=False),
    Column("local_name", Text, nullable=False),
    Column("item_code", Text, nullable=False),
    key=("payer", "list_type", "local_code"),
    found_by=("owner", "local_code"),
)

diseases = _versions(
    "disease",
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    key=("code",),
    found_by=("code",),
)

institution_records = _versions(
    "institution_record",
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("level", Text, nullable=False),
    key=("code",),
)

staff = _versions(
    "staff_member",
    Column("institution", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("department", Text, nullable=False),
    key=("institution", "code"),
    found_by=("institution", "code"),
)

population = _versions(
    "insured_person",
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("region", Text, nullable=False),
    Column("insurance_type", Text, nullable=False),
    Column("name_key", Text, nullable=False, comment="keyed hash of the normalised name"),
    Column("sex", Text, nullable=False),
    Column("birth_date", Date, nullable=True, comment="only where the identity number does not tell it"),
    Column("person_no", Text, nullable=False),
    Column("category", Text, nullable=False),
    key=("person_key", "region", "insurance_type"),
    found_by=("person_key",),
)

enrolments = _versions(
    "enrolment",
    Column("person_key", Text, nullable=False, comment="keyed hash of identity type and number"),
    Column("product", Text, nullable=False),
    Column("policy_no", Text, nullable=False),
    Column("name_key", Text, nullable=False, comment="keyed hash of the normalised name"),
    Column("region", Text, nullable=False),
    Column("sum_insured_fen", BigInteger, nullable=True),
    key=("person_key", "product", "policy_no"),
    found_by=("person_key",),
)

blacklist = _versions(
    "blacklist_entry",
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="a code; of a person the keyed hash of the identity number"),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    key=("kind", "subject"),
    found_by=("kind", "subject"),
)

import_runs = Table(
    "import_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False, comment="the file's name, or the number of the message's request"),
    Column("sha256", Text, nullable=False, comment="of the file, or of the message's content"),
    Column("operator", Text, nullable=False, server_default=text("''")),
    Column("state", Text, nullable=False),
    Column("phase", Text, nullable=False, server_default=text("''"), comment="where it is, or where it ended"),
    Column("rows_read", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_new", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_changed", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_unchanged", BigInteger, nullable=False, server_default=text("0")),
    Column("problem_count", Integer, nullable=False, server_default=text("0")),
    Column("problems", JSONB, nullable=False, server_default=text("'[]'"), comment="the first of them, no values"),
    Column("started_at", Moment, nullable=False, server_default=func.now()),
    Column("seen_at", Moment, nullable=False, server_default=func.now(), comment="the last sign of life"),
    Column("ended_at", Moment, nullable=True),
    PrimaryKeyConstraint("id", name="import_run_pk"),
    CheckConstraint("source IN ('file', 'message')", name="import_run_source_is_known"),
    CheckConstraint("state IN ('running', 'done', 'refused', 'failed', 'died')", name="import_run_state_is_known"),
    CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="import_run_has_an_end"),
    Index(
        "one_import_per_file",
        "kind",
        "owner",
        "sha256",
        unique=True,
        postgresql_where=text("state = 'done' AND source = 'file'"),
    ),
    Index("import_run_running", "id", postgresql_where=text("state = 'running'")),
)
