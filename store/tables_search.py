"""By what people know a case, and where it is found; see `store.tables` and `store.search`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from store.tables import metadata

search_keys = Table(
    "search_key",
    metadata,
    # No primary key: the same name of the same case twice does no harm, and a conflict would stop a settlement.
    Column("key", BigInteger, nullable=False, comment="first eight bytes of SHA-256 over kind and name"),
    Column("case_id", UUID(as_uuid=False), nullable=False),
    Column("region", Text, nullable=False),
    # Case ids grow with time: the newest cases of a name are at the end of its entries.
    Index("search_key_by_key", "key", "case_id"),
)
