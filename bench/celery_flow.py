"""The three hops as a Celery chain with durable settings: one task, one commit and one confirmed publish per hop.

Workers: `celery -A bench.celery_flow worker -Q bench.hop1,bench.hop2,bench.hop3 -P prefork -c 4`.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import psycopg
from celery import Celery
from celery.utils import uuid
from kombu import Exchange, Queue
from kombu.serialization import dumps

from bench import flow

EXCHANGE = Exchange("bench.hops", type="topic", durable=True)
PREFETCH_PER_PROCESS = 4

# The driver imports this module only to make messages: it has no broker of its own to name.
app = Celery("bench", broker=os.environ.get(flow.BROKER_URL), backend=None)
app.conf.update(
    task_queues=[
        Queue(name, EXCHANGE, routing_key=name, durable=True, queue_arguments=flow.QUORUM) for name in flow.HOPS
    ],
    task_routes={name: {"queue": name} for name in flow.HOPS},
    task_default_queue=flow.HOPS[0],
    task_default_queue_type="quorum",
    task_default_exchange=EXCHANGE.name,
    task_default_exchange_type=EXCHANGE.type,
    task_default_delivery_mode="persistent",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=PREFETCH_PER_PROCESS,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


@cache
def database() -> psycopg.Connection[tuple[Any, ...]]:
    """The connection of this worker process; every statement commits."""
    return psycopg.connect(flow.database_url(), autocommit=True)


@app.task(name=flow.HOPS[0])
def receive(raw: dict[str, Any]) -> dict[str, Any]:
    """Hop 1: parse and insert; the chain publishes what is returned to the next hop."""
    request = flow.Request.model_validate(raw)
    row = (request.settlement_no, request.visit.visit_no, request.total, request.model_dump_json())
    inserted = database().execute(flow.INSERT, row).fetchone()
    assert inserted
    return request.model_copy(update={"row_id": inserted[0]}).model_dump()


@app.task(name=flow.HOPS[1])
def send(raw: dict[str, Any]) -> dict[str, Any]:
    """Hop 2: parse and mark as sent."""
    request = flow.Request.model_validate(raw)
    database().execute(flow.MARK_SENT, (request.row_id,))
    return request.model_dump()


@app.task(name=flow.HOPS[2])
def settle(raw: dict[str, Any]) -> None:
    """Hop 3: parse, mark as settled, answer."""
    request = flow.Request.model_validate(raw)
    database().execute(flow.MARK_SETTLED, (flow.reference(request.row_id), request.row_id))
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            flow.reply(request),
            exchange="",
            routing_key=flow.REPLIES,
            serializer="json",
            delivery_mode=2,
            correlation_id=request.settlement_no,
        )


def first_message(request: dict[str, object]) -> tuple[bytes, dict[str, Any]]:
    """Body and properties of the message that starts the chain, made by Celery itself."""
    task_id = uuid()
    message = app.amqp.as_task_v2(
        task_id, flow.HOPS[0], args=(request,), kwargs={}, ignore_result=True, chain=[settle.s(), send.s()]
    )
    content_type, content_encoding, body = dumps(message.body, serializer="json")
    properties = {
        "content_type": content_type,
        "content_encoding": content_encoding,
        "headers": dict(message.headers),
        "correlation_id": task_id,
        "delivery_mode": 2,
    }
    return body.encode() if isinstance(body, str) else body, properties
