"""Messages already taken: a second delivery of one has no second effect. Written in the effect's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from store.rows import as_json, insert_rows
from store.tables import inbox

_INSERT = insert_rows(
    inbox,
    ("consumer", "message_id", "region"),
    unless="one_effect_per_message",
    returning=("consumer", "message_id"),
)


def take(connection: Connection, messages: Sequence[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """(consumer, message_id, region) each; returns the (consumer, message_id) that were not taken before."""
    if not messages:
        return set()
    rows = [
        {"consumer": consumer, "message_id": message_id, "region": region}
        for consumer, message_id, region in sorted(messages)
    ]
    return {(row.consumer, row.message_id) for row in connection.execute(_INSERT, {"rows": as_json(rows)})}
