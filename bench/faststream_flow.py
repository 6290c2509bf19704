"""The three hops as FastStream subscribers with durable settings: one commit and one awaited confirm per hop.

One worker process: `python -m bench.faststream_flow`. Several are started beside each other, which is what FastStream's
own `run --workers` does; its command line is left out because it pins an older typer than the hub uses.
"""

from __future__ import annotations

import asyncio

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from psycopg_pool import AsyncConnectionPool

from bench import flow

PREFETCH = 32
CONNECTIONS = 8

broker = RabbitBroker(
    flow.broker_url(), default_channel=Channel(prefetch_count=PREFETCH, publisher_confirms=True), logger=None
)
app = FastStream(broker, logger=None)
pool = AsyncConnectionPool(
    flow.database_url(), min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True}
)


def queue(name: str) -> RabbitQueue:
    """A durable quorum queue."""
    return RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True)


@app.on_startup
async def open_pool() -> None:
    """Connect before the first message."""
    await pool.open(wait=True)


@app.after_shutdown
async def close_pool() -> None:
    """Disconnect after the last message."""
    await pool.close()


@broker.subscriber(queue(flow.HOPS[0]), ack_policy=AckPolicy.NACK_ON_ERROR)
async def receive(request: flow.Request) -> None:
    """Hop 1: parse and insert."""
    row = (request.settlement_no, request.visit.visit_no, request.total, request.model_dump_json())
    async with pool.connection() as connection:
        inserted = await (await connection.execute(flow.INSERT, row)).fetchone()
    assert inserted
    await publish(request.model_copy(update={"row_id": inserted[0]}), flow.HOPS[1], request)


@broker.subscriber(queue(flow.HOPS[1]), ack_policy=AckPolicy.NACK_ON_ERROR)
async def send(request: flow.Request) -> None:
    """Hop 2: parse and mark as sent."""
    async with pool.connection() as connection:
        await connection.execute(flow.MARK_SENT, (request.row_id,))
    await publish(request, flow.HOPS[2], request)


@broker.subscriber(queue(flow.HOPS[2]), ack_policy=AckPolicy.NACK_ON_ERROR)
async def settle(request: flow.Request) -> None:
    """Hop 3: parse, mark as settled, answer."""
    async with pool.connection() as connection:
        await connection.execute(flow.MARK_SETTLED, (flow.reference(request.row_id), request.row_id))
    await publish(flow.reply(request), flow.REPLIES, request)


async def publish(message: flow.Request | dict[str, str], target: str, request: flow.Request) -> None:
    """Publish persistently and await the broker's confirm."""
    await broker.publish(message, queue=target, persist=True, correlation_id=request.settlement_no)


if __name__ == "__main__":
    asyncio.run(app.run())
