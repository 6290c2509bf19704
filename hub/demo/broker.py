"""Looking into a broker before a demo uses it."""

from __future__ import annotations

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hub.broker.topology import Topology
from hub.demo.stage import DemoRefused


def refuse_a_used_broker(url: str, layout: Topology) -> None:
    """DemoRefused when messages wait there: they would be taken for ours, and ours by whoever they belong to."""
    try:
        connection = pika.BlockingConnection(pika.URLParameters(url))
    except (AMQPError, OSError, ValueError) as error:
        raise DemoRefused(f"--broker: RabbitMQ cannot be reached, or refuses the user or vhost: {error!r}") from None
    try:
        used = sorted(queue.name for queue in layout.queues if _waiting(connection, queue.name))
    finally:
        connection.close()
    if used:
        raise DemoRefused(
            f"--broker: messages wait in {', '.join(used[:5])}; give the demo a vhost of its own, "
            "such as amqp://guest:guest@127.0.0.1/demo"
        )


def _waiting(connection: pika.BlockingConnection, queue: str) -> int:
    """Messages in a queue; 0 when there is none of this name."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return 0
    channel.close()
    return int(found.method.message_count)
