"""Messages already taken, by sender and message id. Written in the effect's transaction.

A message may come any number of times; its id may not come with anything else. What a repeat gets is decided by the
case it names; what the inbox decides is that an id used for one message cannot smuggle in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables import inbox


@dataclass(frozen=True, slots=True, order=True)
class Received:
    """A message as the inbox remembers it; `content` is the transaction with the hash of what it says."""

    consumer: str
    message_id: str
    region: str
    content: str


_INSERT = insert_rows(
    inbox,
    ("consumer", "message_id", "region", "content"),
    unless="one_effect_per_message",
    returning=("consumer", "message_id"),
)
_LEAVE_A_MARK = text("SELECT pg_logical_emit_message(true, 'settlement-hub', '')")
_STORED = Prepared(
    "SELECT i.consumer, i.message_id, i.content FROM inbox i "
    "JOIN json_to_recordset($1) AS r(consumer text, message_id text) "
    "ON i.consumer = r.consumer AND i.message_id = r.message_id",
    "json",
)


def take(connection: Connection, messages: Sequence[Received]) -> set[Received]:
    """Remember these messages; returns those whose id was used before for another message: they must be refused."""
    if not messages:
        return set()
    # One order for everybody, so that two batches with the same ids wait for each other and never deadlock.
    rows = as_json(
        [
            {"consumer": one.consumer, "message_id": one.message_id, "region": one.region, "content": one.content}
            for one in sorted(messages)
        ]
    )
    fresh = _INSERT.rows(connection, rows)
    if len(fresh) == len(messages):
        return set()
    stored = {(consumer, id_): content for consumer, id_, content in _STORED.rows(connection, rows)}
    return {one for one in messages if stored[one.consumer, one.message_id] != one.content}


def leave_a_mark(connection: Connection) -> None:
    """Have this transaction write something, so that its commit waits for the standby as one with an effect does.

    A repeat finds what an earlier message stored, perhaps in a commit that no standby has confirmed yet. Without a
    mark the repeat would be acknowledged at once, and a failover would take back what it was told to be safe.
    """
    connection.execute(_LEAVE_A_MARK)
