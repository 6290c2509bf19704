"""The outbox table itself, as the sweep and the writers use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from store import outbox
from store.database import open_engine
from store.outbox import DeadLetter
from tests.contract.transports import a_message


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


def a_letter(**changes: object) -> DeadLetter:
    facts = {
        "region": "3301",
        "source_queue": "intake",
        "exchange": "in.H1",
        "routing_key": "settlement.settle",
        "message_id": "m-1",
        "type": "settlement.settle",
        "correlation_id": "",
        "cause": "message.invalid",
        "detail": "",
        "headers": {},
        "body": b"{}",
        "attempt": 1,
    }
    return DeadLetter(**(facts | changes))  # type: ignore[arg-type]


def test_messages_get_their_own_row_numbers_in_order(engine: Engine) -> None:
    messages = [a_message(str(number).encode()) for number in range(50)]

    with engine.begin() as connection:
        stored = outbox.add(connection, messages)
        rows = connection.execute(text("SELECT id, message_id, body FROM outbox ORDER BY id")).all()

    assert [(one.outbox_id, one.message_id, one.body) for one in stored] == [
        (id_, message_id, bytes(body)) for id_, message_id, body in rows
    ]
    assert [one.message_id for one in stored] == [one.message_id for one in messages]


def test_nothing_to_write_is_no_statement(engine: Engine) -> None:
    with engine.begin() as connection:
        assert outbox.add(connection, []) == []
        assert outbox.delete(connection, []) == 0
        assert outbox.bury(connection, []) == 0
        assert outbox.lease_queues(connection, {"intake": 0}, lease_s=1) == []


def test_a_sweep_takes_old_rows_only_and_no_other_sweep_takes_them(engine: Engine) -> None:
    with engine.begin() as connection:
        [old, _] = outbox.add(connection, [a_message(), a_message()])
        connection.execute(
            text("UPDATE outbox SET created_at = now() - interval '1 min' WHERE id = :id"), {"id": old.outbox_id}
        )

    with engine.connect() as first, engine.connect() as second:
        taken = outbox.lease_stale(first, older_than_s=10, lease_s=30, limit=10)
        assert outbox.lease_stale(second, older_than_s=10, lease_s=30, limit=10) == []
        first.commit()
        assert outbox.lease_stale(second, older_than_s=10, lease_s=30, limit=10) == []

    assert [one.outbox_id for one in taken] == [old.outbox_id]


def test_a_sweep_comes_back_to_a_row_ever_later(engine: Engine) -> None:
    waits = []
    with engine.begin() as connection:
        outbox.add(connection, [a_message()])
        for _ in range(8):
            assert outbox.lease_stale(connection, older_than_s=-1, lease_s=10, limit=1)
            waits.append(
                connection.execute(
                    text("SELECT round(extract(epoch FROM leased_until - clock_timestamp())) FROM outbox")
                ).scalar_one()
            )
            connection.execute(text("UPDATE outbox SET leased_until = NULL"))

    assert waits == [10, 20, 40, 80, 160, 320, 320, 320]


def test_a_dead_letter_is_stored_once_for_each_delivery(engine: Engine) -> None:
    with engine.begin() as connection:
        assert outbox.bury(connection, [a_letter(), a_letter(message_id="m-2", body=b"\x00\xff")]) == 2
        assert outbox.bury(connection, [a_letter(), a_letter(attempt=2)]) == 1
        bodies = connection.execute(text("SELECT body FROM dead_letter ORDER BY id")).scalars()
        assert [bytes(body) for body in bodies] == [b"{}", b"\x00\xff", b"{}"]


def test_a_batch_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        outbox.add(connection, [a_message()])
        connection.rollback()

    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 0


@pytest.mark.parametrize("lease", ["queues", "stale"])
def test_no_more_is_leased_than_was_asked_for_whatever_the_planner_thinks(engine: Engine, lease: str) -> None:
    with engine.begin() as connection:
        # As if the table had been empty when it was last looked at: then every row is compared with a fresh choice.
        connection.execute(text("ANALYZE outbox"))
        connection.execute(text("SET LOCAL enable_hashjoin = off"))
        connection.execute(text("SET LOCAL enable_mergejoin = off"))
        connection.execute(text("SET LOCAL enable_indexscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        connection.execute(text("SET LOCAL enable_material = off"))
        queue = "intake" if lease == "queues" else ""
        connection.execute(
            text(
                "INSERT INTO outbox (region, message_id, queue, exchange, routing_key, body, created_at, available_at) "
                "SELECT '440300', 'm' || n, :queue, 'x', 'k', '', past, past "
                "FROM generate_series(1, 40) AS n, (SELECT now() - interval '1 minute' AS past) AS moment"
            ),
            {"queue": queue},
        )
        if lease == "queues":
            leased = outbox.lease_queues(connection, {"intake": 8}, lease_s=30)
        else:
            leased = outbox.lease_stale(connection, older_than_s=1, lease_s=30, limit=8)

    assert len(leased) == 8
