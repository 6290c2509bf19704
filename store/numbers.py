"""Durable message numbers: a sequence for each payer and institution, a block for each request, never given twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from schemas.payer import MessageNumbers
from store.driver import Prepared
from store.rows import as_json

SERIALS = 10_000
"""After so many numbers the four digits of a dialect come round again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that needs `count` numbers."""

    request_id: str
    payer: str
    institution: str
    count: int


_FIND = Prepared(
    "SELECT n.request_id, n.at, n.first FROM message_number n JOIN json_to_recordset($1) AS r(request_id text) "
    "ON n.request_id = r.request_id",
    "json",
)
_DRAW = Prepared(
    "INSERT INTO message_number_sequence AS s (payer, institution, next) VALUES ($1, $2, $3) "
    "ON CONFLICT ON CONSTRAINT message_number_sequence_pk DO UPDATE SET next = s.next + $3 RETURNING s.next - $3",
    "text",
    "text",
    "bigint",
)
# Where the block one round before was dated in the same second, or later by a clock that has been set back, this one is
# dated in the second after that.
_KEEP = Prepared(
    "INSERT INTO message_number (request_id, payer, institution, first, count, at) "
    "SELECT $1, $2, $3, $4, $5, greatest($6, (SELECT date_trunc('second', max(b.at)) + interval '1 second' "
    "FROM message_number b WHERE b.payer = $2 AND b.institution = $3 "
    f"AND b.first BETWEEN $4 - {2 * SERIALS} AND $4 + $5 - {SERIALS} - 1 AND b.first + b.count > $4 - {SERIALS})) "
    "RETURNING at",
    *("text", "text", "text", "bigint", "integer", "timestamptz"),
)


def find(connection: Connection, request_ids: Iterable[str]) -> dict[str, MessageNumbers]:
    """The blocks that these requests have."""
    given = as_json([{"request_id": request_id} for request_id in set(request_ids)])
    return {request_id: MessageNumbers(at, first) for request_id, at, first in _FIND.rows(connection, given)}


def draw(connection: Connection, wanted: Sequence[Wanted], at: datetime) -> dict[str, MessageNumbers]:
    """The block of each request, the one that it has or a new one dated `at`, so that second and serial together are
    given once.

    Sequences are taken in one order, so that two batches wait for each other and never deadlock.
    """
    known = find(connection, [one.request_id for one in wanted])
    new = sorted((one for one in wanted if one.request_id not in known), key=lambda one: (one.payer, one.institution))
    for one in new:
        ((first,),) = _DRAW.rows(connection, one.payer, one.institution, one.count)
        kept = _KEEP.rows(connection, one.request_id, one.payer, one.institution, first, one.count, at)
        known[one.request_id] = MessageNumbers(kept[0][0], first)
    return known
