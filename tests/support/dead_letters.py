"""Dead letters for tests, and the office of a test's hub."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from hub.bootstrap import broker_topology
from hub.people.office import Office, open_office
from store import outbox
from store.outbox import DeadLetter
from tests.support.builders import HOSPITAL, a_settle_request, as_bytes
from tests.support.hub_in_process import TestHub


def an_office(world: TestHub) -> Office:
    """The office of a hub in this process."""
    hub = world.hub
    book = hub.books.active().book
    return open_office(hub.work_units, world.clock, lambda: broker_topology(book), lambda: book.party_by_code)


def a_letter(body: bytes | None = None, **changes: Any) -> DeadLetter:
    """A settlement that HOSPITAL sent through RabbitMQ and that broke its handler."""
    values: dict[str, Any] = {
        "region": "",
        "source_queue": "intake",
        "exchange": f"in.{HOSPITAL}",
        "routing_key": "settlement.settle",
        "message_id": "M-1",
        "type": "",
        "correlation_id": "",
        "cause": "hub.bug",
        "detail": "KeyError",
        "headers": {"traceparent": "00-1"},
        "body": as_bytes(a_settle_request()) if body is None else body,
        "attempt": 1,
        "content_type": "application/json",
    }
    return DeadLetter(**values | changes)


def a_query(**changes: Any) -> DeadLetter:
    """A letter on which no money hangs."""
    body = as_bytes({"institution": HOSPITAL, "settlement_no": "S-1"})
    return a_letter(body, **{"routing_key": "case.query", "message_id": "Q-1", **changes})


def buried(world: TestHub, *letters: DeadLetter) -> list[int]:
    """Bury letters; their ids, in order."""
    with world.database.begin() as connection:
        before = connection.execute(text("SELECT coalesce(max(id), 0) FROM dead_letter")).scalar_one()
        outbox.bury(connection, letters)
        found = connection.execute(
            text("SELECT id FROM dead_letter WHERE id > :before ORDER BY id"), {"before": before}
        )
        return [int(id_) for id_ in found.scalars()]


def state_of(world: TestHub, letter_id: int) -> str:
    with world.database.connect() as connection:
        found = connection.execute(text("SELECT state FROM dead_letter WHERE id = :id"), {"id": letter_id})
        return str(found.scalar_one())
