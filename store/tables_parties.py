"""The table of the parties' doors: who may come in, and which of his tokens is the newest."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text, func, text

from store.tables import Moment, metadata

party_access = Table(
    "party_access",
    metadata,
    Column("party", Text, nullable=False, comment="a party without a row may come in with its first token"),
    Column("enabled", Boolean, nullable=False),
    Column("token_generation", Integer, nullable=False, server_default=text("0"), comment="older tokens are refused"),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", Moment, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("party", name="party_access_pk"),
    CheckConstraint("token_generation >= 0", name="party_access_generation"),
)
