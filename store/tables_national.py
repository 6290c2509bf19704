"""The tables of the service for hospitals that speak the national envelope; see `store.tables`."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables import Moment, metadata

national_persons = Table(
    "national_person",
    metadata,
    Column("institution", Text, nullable=False),
    Column("person_no", Text, nullable=False, comment="psn_no, which later messages name instead of the person"),
    Column("person", JSONB, nullable=False, comment="as the institution asked and was answered"),
    Column("seen_at", Moment, nullable=False),
    PrimaryKeyConstraint("institution", "person_no", name="national_person_pk"),
)

national_files = Table(
    "national_file",
    metadata,
    Column("file_no", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("stored_at", Moment, nullable=False),
    Column("valid_until", Moment, nullable=False),
    PrimaryKeyConstraint("file_no", name="national_file_pk"),
    Index("national_file_by_end", "valid_until"),
)
