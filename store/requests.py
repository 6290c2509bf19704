"""Requests by their sender's own number: done once, answered again when they are repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables_visits import requests


@dataclass(frozen=True, slots=True)
class Kept:
    """One request as it was taken, with the answer that it got."""

    party: str
    """Whose number it is: the institution, or the party that sent an upload."""
    transaction: str
    request_no: str
    region: str
    sender: str
    content_hash: str
    body: bytes
    answer: bytes
    received_at: datetime
    visit_id: str | None = None


_COLUMNS = tuple(Kept.__dataclass_fields__)
_INSERT = insert_rows(
    requests, _COLUMNS, unless="one_effect_per_request_number", returning=("party", "transaction", "request_no")
)
_FIND = Prepared(
    f"SELECT {', '.join(_COLUMNS[:-1])}, CAST(visit_id AS text) FROM party_request "
    "WHERE party = $1 AND transaction = $2 AND request_no = $3",
    "text",
    "text",
    "text",
)
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


def find(connection: Connection, party: str, transaction: str, request_no: str) -> Kept | None:
    """The request under this number, if there was one. Who asks holds the number until the transaction ends: a repeat
    that comes at the same moment waits, and then finds it."""
    connection.execute(_ONE_AT_A_TIME, {"key": f"{party}/{transaction}/{request_no}"})
    for row in _FIND.rows(connection, party, transaction, request_no):
        party_, name, number, region, sender, digest, body, answer, at, visit_id = row
        return Kept(party_, name, number, region, sender, digest, bytes(body), bytes(answer), at, visit_id)
    return None


def keep(connection: Connection, new: Kept) -> bool:
    """Remember a request with its answer; False when the number was taken (then nothing is written)."""
    row = {name: getattr(new, name) for name in _COLUMNS}
    return bool(_INSERT.rows(connection, as_json([row])))
