"""The floor: the three hops in plain pika and psycopg2, batched and pipelined, with no inbox, no outbox and no safety.

One process per hop (`python -m bench.floor 1|2|3`). What arrives together is one transaction, one burst of
publishes and, once the broker has confirmed them all, one multiple-ack. Nothing that does this work through
RabbitMQ and PostgreSQL from Python can be expected to be much faster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pika
import psycopg2
from psycopg2.extras import execute_values

from bench import flow, payload

PREFETCH = 256
BATCH_MAX = 1000
Hop = Callable[[Any, Sequence[tuple[pika.BasicProperties, bytes]]], list[bytes]]
Received = tuple[pika.BasicProperties, bytes]


def receive(cursor: Any, received: Sequence[Received]) -> list[bytes]:
    """Hop 1: parse and insert."""
    requests = [flow.Request.model_validate_json(body) for _, body in received]
    rows = [
        (request.settlement_no, request.visit.visit_no, request.total, body.decode(), 1)
        for request, (_, body) in zip(requests, received, strict=True)
    ]
    statement = "INSERT INTO flow (settlement_no, visit_no, total, body, state) VALUES %s RETURNING id"
    ids = execute_values(cursor, statement, rows, page_size=BATCH_MAX, fetch=True)
    for request, (row_id,) in zip(requests, ids, strict=True):
        request.row_id = row_id
    return [request.model_dump_json().encode() for request in requests]


def send(cursor: Any, received: Sequence[Received]) -> list[bytes]:
    """Hop 2: parse and mark as sent."""
    requests = [flow.Request.model_validate_json(body) for _, body in received]
    statement = "UPDATE flow SET state = 2, sent_at = clock_timestamp() WHERE id = ANY(%s)"
    cursor.execute(statement, ([request.row_id for request in requests],))
    return [request.model_dump_json().encode() for request in requests]


def settle(cursor: Any, received: Sequence[Received]) -> list[bytes]:
    """Hop 3: parse, mark as settled, answer."""
    requests = [flow.Request.model_validate_json(body) for _, body in received]
    statement = """
        UPDATE flow SET state = 3, settled_at = clock_timestamp(), reference = settled.reference
        FROM (VALUES %s) AS settled (id, reference) WHERE flow.id = settled.id"""
    rows = [(request.row_id, flow.reference(request.row_id)) for request in requests]
    execute_values(cursor, statement, rows, page_size=BATCH_MAX)
    return [payload.encode(flow.reply(request)) for request in requests]


class Worker:
    """Consumes one queue and publishes into the next, on one connection."""

    def __init__(self, hop: Hop, source: str, target: str) -> None:
        self._hop, self._source, self._target = hop, source, target
        self._database = psycopg2.connect(flow.database_url())
        self._waiting: list[tuple[int, Received]] = []
        self._bursts: dict[int, int] = {}
        self._published = 0
        self._confirmed = 0
        self._publisher: Any = None
        self._consumer: Any = None
        self._connection = pika.SelectConnection(
            pika.URLParameters(flow.broker_url()),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._publisher_opened),
        )

    def run(self) -> None:
        """Work until the process is ended."""
        self._connection.ioloop.start()

    def _publisher_opened(self, channel: Any) -> None:
        self._publisher = channel
        channel.confirm_delivery(
            self._on_confirmed,
            callback=lambda _frame: self._connection.channel(on_open_callback=self._consumer_opened),
        )

    def _consumer_opened(self, channel: Any) -> None:
        self._consumer = channel
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(self._source, self._on_message)

    def _on_message(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        if not self._waiting:
            self._connection.ioloop.call_later(0, self._work)
        self._waiting.append((method.delivery_tag, (properties, body)))

    def _work(self) -> None:
        burst, self._waiting = self._waiting, []
        received = [message for _, message in burst]
        with self._database, self._database.cursor() as cursor:
            answers = self._hop(cursor, received)
        for (properties, _), answer in zip(received, answers, strict=True):
            self._publish(properties.correlation_id, answer)
        self._bursts[self._published] = burst[-1][0]

    def _publish(self, correlation_id: str | None, body: bytes) -> None:
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, correlation_id=correlation_id
        )
        self._publisher.basic_publish("", self._target, body, properties)
        self._published += 1

    def _on_confirmed(self, frame: Any) -> None:
        # Single confirms of a quorum queue come in order, so the highest tag stands for all before it.
        self._confirmed = max(self._confirmed, frame.method.delivery_tag)
        for last_published in [tag for tag in self._bursts if tag <= self._confirmed]:
            self._consumer.basic_ack(self._bursts.pop(last_published), multiple=True)


def main(hop_number: int) -> None:
    """Run one hop for ever."""
    hop = (receive, send, settle)[hop_number - 1]
    target = (*flow.HOPS, flow.REPLIES)[hop_number]
    Worker(hop, flow.HOPS[hop_number - 1], target).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
