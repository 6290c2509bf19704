"""The table of answers that wait to be written into staging tables; see `store.tables`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, Table, Text, func
from sqlalchemy.dialects.postgresql import UUID

from store.tables import Moment, metadata

staging_due = Table(
    "staging_due",
    metadata,
    Column("party", Text, nullable=False, comment="whose staging table is to hear of it"),
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("region", Text, nullable=False),
    Column("revision", Integer, nullable=False, comment="of the newest answer; removed when the table has it"),
    Column("since", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("party", "case_id", name="staging_due_pk"),
    Index("staging_due_by_age", "party", "since"),
)
