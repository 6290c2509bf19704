"""The outbox: messages written in the effect's own transaction, and the dead letters beside it.

Each function is one statement, whatever the number of messages. With RabbitMQ a row lives until the broker has
confirmed it. With the embedded broker the table is the queue: `queue` says which, a lease says who works on it.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import Connection, Engine, text

from store.copying import copy_rows
from store.driver import Prepared, as_array
from store.tables import OUTBOX_ID_BLOCK, outbox


class Message(Protocol):
    """What a message to be stored must know of itself (any frozen dataclass with these fields)."""

    @property
    def message_id(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def type(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def region(self) -> str: ...
    @property
    def outbox_id(self) -> int: ...


M = TypeVar("M", bound=Message)
QueueOf = Callable[[str, str], str]
"""(exchange, routing key) -> queue, for the embedded broker."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """An outbox row. `attempt` counts leases, `lapses` those that ended without a verdict."""

    outbox_id: int
    region: str
    message_id: str
    queue: str
    exchange: str
    routing_key: str
    type: str
    correlation_id: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message set aside for people. `detail` holds identifiers and field names, no personal data."""

    region: str
    source_queue: str
    exchange: str
    routing_key: str
    message_id: str
    type: str
    correlation_id: str
    cause: str
    detail: str
    headers: Mapping[str, str]
    body: bytes
    attempt: int
    content_type: str = ""


LAPSES = "x-hub-lapses"
"""Header of a row whose lease ran out without a verdict: how often that happened in a row."""

_ROW = """region text, message_id text, queue text, exchange text, routing_key text, type text,
    correlation_id text, content_type text, headers jsonb, body text, body64 text"""
_BODY = "CASE WHEN r.body64 IS NULL THEN convert_to(r.body, 'UTF8') ELSE decode(r.body64, 'base64') END"
_COLUMNS = """outbox.id, outbox.region, outbox.message_id, outbox.queue, outbox.exchange, outbox.routing_key,
    outbox.type, outbox.correlation_id, outbox.content_type, outbox.headers, outbox.body, outbox.deliveries"""

_ADDED = (
    "id",
    "region",
    "message_id",
    "queue",
    "exchange",
    "routing_key",
    "type",
    "correlation_id",
    "content_type",
    "headers",
    "body",
)
_NEXT_BLOCKS = text("SELECT nextval(pg_get_serial_sequence('outbox', 'id')) FROM generate_series(1, :count)")
_DELETE = Prepared("DELETE FROM outbox WHERE id = ANY($1)", "bigint[]")
_DELETE_FROM = text("DELETE FROM outbox WHERE id = ANY(:ids) AND queue = :queue")
_EXTEND = text("""
    UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => :lease_s) WHERE id = ANY(:ids)""")
# A choice of so many rows is made once, before the update: inside it, a plan may make it anew for every row that it
# looks at, and lease them all.
_LEASE_STALE = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM outbox
        WHERE queue = '' AND created_at < clock_timestamp() - make_interval(secs => :older_than_s)
          AND (leased_until IS NULL OR leased_until < clock_timestamp())
        ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED)
    UPDATE outbox
    SET leased_until = clock_timestamp() + make_interval(secs => :lease_s * power(2, least(outbox.deliveries, 5))),
        deliveries = outbox.deliveries + 1
    FROM due WHERE outbox.id = due.id
    RETURNING {_COLUMNS}""")
_LEASE_QUEUES = text(f"""
    WITH due AS MATERIALIZED (
        SELECT row.id
        FROM json_to_recordset(CAST(:wanted AS json)) AS w(queue text, count int)
        CROSS JOIN LATERAL (
            SELECT id FROM outbox
            WHERE outbox.queue = w.queue AND outbox.queue <> '' AND available_at <= clock_timestamp()
              AND (leased_until IS NULL OR leased_until < clock_timestamp())
            ORDER BY available_at, id LIMIT w.count FOR UPDATE SKIP LOCKED) AS row)
    UPDATE outbox
    SET leased_until = clock_timestamp() + make_interval(secs => :lease_s),
        deliveries = outbox.deliveries + 1,
        headers = CASE WHEN outbox.leased_until IS NULL THEN outbox.headers - '{LAPSES}'
                       ELSE jsonb_set(outbox.headers, '{{{LAPSES}}}', to_jsonb(
                                (COALESCE(outbox.headers ->> '{LAPSES}', '0')::int + 1)::text)) END
    FROM due WHERE outbox.id = due.id
    RETURNING {_COLUMNS}""")
_RETRY_LATER = text("""
    UPDATE outbox
    SET available_at = clock_timestamp() + make_interval(secs => r.delay_s), leased_until = NULL
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id bigint, delay_s float8)
    WHERE outbox.id = r.id""")
_UNRESOLVED = text("SELECT DISTINCT exchange, routing_key FROM outbox WHERE queue = '' LIMIT 200")
_RESOLVE = text("""
    UPDATE outbox SET queue = r.queue
    FROM json_to_recordset(CAST(:rows AS json)) AS r(exchange text, routing_key text, queue text)
    WHERE outbox.queue = '' AND outbox.exchange = r.exchange AND outbox.routing_key = r.routing_key""")

_DEAD_ROW = """region text, source_queue text, exchange text, routing_key text, message_id text, type text,
    correlation_id text, content_type text, cause text, detail text, headers jsonb, body text, body64 text,
    attempt int"""
_BURY = text(f"""
    INSERT INTO dead_letter (region, source_queue, exchange, routing_key, message_id, type, correlation_id,
                             content_type, cause, detail, headers, body, attempt)
    SELECT r.region, r.source_queue, r.exchange, r.routing_key, r.message_id, r.type, r.correlation_id,
           r.content_type, r.cause, r.detail, r.headers, {_BODY}, r.attempt
    FROM json_to_recordset(CAST(:rows AS json)) AS r({_DEAD_ROW})
    ON CONFLICT (source_queue, exchange, message_id, attempt, sha256(body)) WHERE state = 'open' DO NOTHING""")


def add(connection: Connection, messages: Sequence[M], queue_of: QueueOf | None = None) -> list[M]:
    """Store messages; returns them with their `outbox_id`, in the same order.

    `queue_of` is given with the embedded broker only; without it `queue` stays empty.
    """
    if not messages:
        return []
    ids = _blocks_of(connection.engine).take(connection, len(messages))
    stored = [replace(one, outbox_id=id_) for one, id_ in zip(messages, ids, strict=True)]  # type: ignore[type-var]
    copy_rows(
        connection,
        outbox,
        _ADDED,
        (
            (
                one.outbox_id,
                one.region,
                one.message_id,
                queue_of(one.exchange, one.routing_key) if queue_of is not None else "",
                one.exchange,
                one.routing_key,
                one.type,
                one.correlation_id,
                one.content_type,
                dict(one.headers),
                one.body,
            )
            for one in stored
        ),
    )
    return stored


class _IdBlocks:
    """Row ids drawn in blocks: the sequence counts in steps of a block, so most batches need not ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[int] = []

    def take(self, connection: Connection, count: int) -> list[int]:
        """`count` ids that nobody else has or gets, ascending; those of a transaction that fails are never used."""
        with self._lock:
            missing = count - len(self._free)
            if missing > 0:
                blocks = -(-missing // OUTBOX_ID_BLOCK)
                for first in connection.execute(_NEXT_BLOCKS, {"count": blocks}).scalars():
                    self._free.extend(range(first, first + OUTBOX_ID_BLOCK))
            taken, self._free = self._free[:count], self._free[count:]
            return taken


_blocks: WeakKeyDictionary[Engine, _IdBlocks] = WeakKeyDictionary()
_blocks_lock = threading.Lock()


def _blocks_of(engine: Engine) -> _IdBlocks:
    with _blocks_lock:
        return _blocks.setdefault(engine, _IdBlocks())


def delete(connection: Connection, ids: Iterable[int]) -> int:
    """Remove rows that are confirmed or handled; returns how many were still there."""
    ids = list(ids)
    return _DELETE.count(connection, as_array(ids)) if ids else 0


def delete_from(connection: Connection, queue: str, ids: Iterable[int]) -> int:
    """As `delete`, but only rows of this queue: nobody can remove what is another's."""
    ids = list(ids)
    return connection.execute(_DELETE_FROM, {"ids": ids, "queue": queue}).rowcount if ids else 0


def extend_leases(connection: Connection, ids: Iterable[int], lease_s: float) -> None:
    """Keep rows that are still being worked on from being due again."""
    ids = list(ids)
    if ids:
        connection.execute(_EXTEND, {"ids": ids, "lease_s": lease_s})


def lease_stale(connection: Connection, older_than_s: float, lease_s: float, limit: int) -> list[StoredMessage]:
    """Rows for RabbitMQ whose publication nobody has seen confirmed; no other sweep takes them for `lease_s`.

    The lease doubles each time up to 32-fold, so that a message no queue takes does not come round for ever and ever.
    """
    found = connection.execute(_LEASE_STALE, {"older_than_s": older_than_s, "lease_s": lease_s, "count": limit})
    return _sorted(found)


def lease_queues(connection: Connection, wanted: Mapping[str, int], lease_s: float) -> list[StoredMessage]:
    """At most `wanted[queue]` due rows of each queue, in one statement; they are due again after `lease_s`."""
    rows = [{"queue": queue, "count": count} for queue, count in wanted.items() if count > 0]
    if not rows:
        return []
    return _sorted(connection.execute(_LEASE_QUEUES, {"wanted": _json(rows), "lease_s": lease_s}))


def retry_later(connection: Connection, delays: Mapping[int, float]) -> None:
    """Give leased rows back; each is due again after its delay in seconds."""
    if delays:
        rows = [{"id": id_, "delay_s": delay_s} for id_, delay_s in delays.items()]
        connection.execute(_RETRY_LATER, {"rows": _json(rows)})


def resolve_queues(connection: Connection, queue_of: QueueOf) -> int:
    """Name the queue of rows written without one; returns how many there were."""
    routes = connection.execute(_UNRESOLVED).all()
    rows = [
        {"exchange": exchange, "routing_key": routing_key, "queue": queue_of(exchange, routing_key)}
        for exchange, routing_key in routes
    ]
    return connection.execute(_RESOLVE, {"rows": _json(rows)}).rowcount if rows else 0


def bury(connection: Connection, letters: Sequence[DeadLetter]) -> int:
    """Store dead letters; one that is open already (same message, sender, queue and attempt) is left as it is."""
    if not letters:
        return 0
    rows = [
        {
            "region": one.region,
            "source_queue": one.source_queue,
            "exchange": one.exchange,
            "routing_key": one.routing_key,
            "message_id": one.message_id,
            "type": one.type,
            "correlation_id": one.correlation_id,
            "content_type": one.content_type,
            "cause": one.cause,
            "detail": one.detail,
            "headers": dict(one.headers),
            "attempt": one.attempt,
            **_body_fields(one.body),
        }
        for one in letters
    ]
    return connection.execute(_BURY, {"rows": _json(rows)}).rowcount


def _body_fields(body: bytes) -> dict[str, str | None]:
    """A body as text where it is text, else in base64 (PostgreSQL's text holds no NUL)."""
    if b"\0" not in body:
        try:
            return {"body": body.decode(), "body64": None}
        except UnicodeDecodeError:
            pass
    return {"body": None, "body64": base64.b64encode(body).decode()}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()


def _sorted(rows: Iterable[Sequence[Any]]) -> list[StoredMessage]:
    messages = [_stored(row) for row in rows]
    messages.sort(key=lambda one: one.outbox_id)
    return messages


def _stored(row: Sequence[Any]) -> StoredMessage:
    return StoredMessage(
        outbox_id=row[0],
        region=row[1],
        message_id=row[2],
        queue=row[3],
        exchange=row[4],
        routing_key=row[5],
        type=row[6],
        correlation_id=row[7],
        content_type=row[8],
        headers=row[9],
        body=bytes(row[10]),
        attempt=row[11],
    )
