"""Dead letters as people work through them: found, grouped, owned, edited, resolved. `store.outbox.bury` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, TextClause, text


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter. `edited_body` replaces `body` in a replay."""

    id: int
    region: str
    source_queue: str
    exchange: str
    routing_key: str
    message_id: str
    type: str
    correlation_id: str
    content_type: str
    cause: str
    detail: str
    headers: Mapping[str, str]
    body: bytes
    attempt: int
    died_at: datetime
    state: str
    owner: str
    resolved_at: datetime | None
    resolved_by: str
    resolution: str
    edited_body: bytes | None
    replay_message_id: str

    @property
    def to_send(self) -> bytes:
        """What a replay sends."""
        return self.body if self.edited_body is None else self.edited_body


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters; empty fields let everything through. `owner` "-" is nobody. `type` is a routing key or a type."""

    state: str = "open"
    cause: str = ""
    queue: str = ""
    type: str = ""
    owner: str = ""
    message_id: str = ""
    died_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters that have one thing in common."""

    key: str
    letters: int
    unowned: int
    oldest_at: datetime
    newest_at: datetime
    example_id: int


GROUPINGS = {
    "cause": "cause",
    "owner": "owner",
    "queue": "source_queue",
    # What a party's message is called stands in the routing key, what our own is called in the type.
    "type": "CASE WHEN exchange LIKE 'in.%' OR type = '' THEN routing_key ELSE type END",
    "age": """CASE WHEN died_at > :now - interval '1 hour' THEN 'under 1 hour'
                   WHEN died_at > :now - interval '1 day' THEN '1 to 24 hours'
                   WHEN died_at > :now - interval '7 days' THEN '1 to 7 days' ELSE 'over 7 days' END""",
}
"""What letters can be grouped by."""

_COLUMNS = """id, region, source_queue, exchange, routing_key, message_id, type, correlation_id, content_type, cause,
    detail, headers, body, attempt, died_at, state, owner, resolved_at, resolved_by, resolution, edited_body,
    replay_message_id"""
_WHERE = """
    WHERE (:state = '' OR state = :state) AND (:cause = '' OR cause = :cause)
      AND (:queue = '' OR source_queue = :queue) AND (:type = '' OR routing_key = :type OR type = :type)
      AND (:owner = '' OR owner = CASE :owner WHEN '-' THEN '' ELSE :owner END)
      AND (:message_id = '' OR message_id = :message_id)
      AND (CAST(:died_before AS timestamptz) IS NULL OR died_at <= :died_before)"""
_LIST = text(f"SELECT {_COLUMNS} FROM dead_letter {_WHERE} AND id > :after ORDER BY id LIMIT :limit")
_COUNT = text(f"SELECT count(*) FROM dead_letter {_WHERE}")
_READ = text(f"SELECT {_COLUMNS} FROM dead_letter WHERE id = ANY(:ids) ORDER BY id")
_LOCK = text(f"SELECT {_COLUMNS} FROM dead_letter WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_OF_MESSAGE = text(f"SELECT {_COLUMNS} FROM dead_letter WHERE message_id = :message_id ORDER BY id")
_OWN = text("UPDATE dead_letter SET owner = :owner WHERE id = ANY(:ids) AND state = 'open'")
_EDIT = text("UPDATE dead_letter SET edited_body = :body WHERE id = :id AND state = 'open'")
_RESOLVE = text("""
    UPDATE dead_letter
    SET state = :state, resolved_at = :now, resolved_by = :by, resolution = :resolution,
        replay_message_id = coalesce(r.replay_message_id, '')
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id bigint, replay_message_id text)
    WHERE dead_letter.id = r.id AND dead_letter.state = 'open'""")


def listed(connection: Connection, wanted: LetterFilter, *, limit: int, after: int = 0) -> list[StoredLetter]:
    """Letters of the filter with an id above `after`, the oldest first."""
    rows = connection.execute(_LIST, {**_values(wanted), "limit": limit, "after": after})
    return [_letter(row) for row in rows]


def count(connection: Connection, wanted: LetterFilter) -> int:
    """How many letters the filter lets through."""
    return int(connection.execute(_COUNT, _values(wanted)).scalar_one())


def groups(connection: Connection, wanted: LetterFilter, by: str, now: datetime) -> list[LetterGroup]:
    """The letters of the filter by one of GROUPINGS, the largest group first."""
    rows = connection.execute(_grouped(GROUPINGS[by]), {**_values(wanted), "now": now})
    return [LetterGroup(**row._asdict()) for row in rows]


def _grouped(key: str) -> TextClause:
    # `:now` is mentioned in any case, so that every grouping takes the same parameters.
    return text(f"""
        SELECT key, count(*) AS letters, count(*) FILTER (WHERE owner = '') AS unowned, min(died_at) AS oldest_at,
               max(died_at) AS newest_at, min(id) AS example_id
        FROM (SELECT {key} AS key, id, owner, died_at FROM dead_letter {_WHERE}
              AND CAST(:now AS timestamptz) IS NOT NULL) AS one
        GROUP BY key ORDER BY letters DESC, key""")


def read(connection: Connection, ids: Sequence[int]) -> list[StoredLetter]:
    """Those of these letters that exist, by id."""
    return [_letter(row) for row in connection.execute(_READ, {"ids": list(ids)})]


def lock(connection: Connection, ids: Sequence[int]) -> list[StoredLetter]:
    """As `read`, held until the transaction ends."""
    return [_letter(row) for row in connection.execute(_LOCK, {"ids": list(ids)})]


def of_message(connection: Connection, message_id: str) -> list[StoredLetter]:
    """Every letter of a message id, oldest first."""
    return [_letter(row) for row in connection.execute(_OF_MESSAGE, {"message_id": message_id})]


def own(connection: Connection, ids: Sequence[int], owner: str) -> int:
    """Name who looks after open letters ("" for nobody); how many there were."""
    return connection.execute(_OWN, {"ids": list(ids), "owner": owner}).rowcount


def edit(connection: Connection, letter_id: int, body: bytes | None) -> int:
    """What an open letter's replay will send instead of the body (None: the body again)."""
    return connection.execute(_EDIT, {"id": letter_id, "body": body}).rowcount


def resolve(
    connection: Connection, replays: Mapping[int, str], state: str, *, by: str, resolution: str, now: datetime
) -> int:
    """End open letters, each with the message id of its replay or ""; how many were still open."""
    rows = [{"id": id_, "replay_message_id": message_id} for id_, message_id in replays.items()]
    values = {"rows": orjson.dumps(rows).decode(), "state": state, "by": by, "resolution": resolution, "now": now}
    return connection.execute(_RESOLVE, values).rowcount


def _values(wanted: LetterFilter) -> dict[str, Any]:
    return {
        "state": wanted.state,
        "cause": wanted.cause,
        "queue": wanted.queue,
        "type": wanted.type,
        "owner": wanted.owner,
        "message_id": wanted.message_id,
        "died_before": wanted.died_before,
    }


def _letter(row: Row[Any]) -> StoredLetter:
    edited = row.edited_body
    changes = {"body": bytes(row.body), "edited_body": None if edited is None else bytes(edited)}
    return StoredLetter(**{**row._asdict(), **changes})
