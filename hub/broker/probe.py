"""Trying the behaviour we rely on, on throw-away queues: some brokers accept an argument and ignore it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

_WAIT_S_MAX = 5.0
_POLL_S = 0.05
_PERSISTENT = pika.BasicProperties(delivery_mode=2)


def probe(connection: pika.BlockingConnection) -> dict[str, str]:
    """What was tried -> "ok" or what happened; leaves nothing behind."""
    results: dict[str, str] = {}
    for name, attempt in _PROBES.items():
        channel = connection.channel()
        try:
            results[name] = attempt(channel, f"probe.{uuid.uuid4().hex}")
        except ChannelClosedByBroker as refusal:
            results[name] = f"refused: {refusal.reply_text}"
        else:
            channel.close()
    return results


def _dead_lettering(channel: BlockingChannel, name: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """A quorum queue with these arguments that dead-letters into a second one; the names of both."""
    source, target = name, f"{name}.target"
    exchange = f"{name}.x"
    channel.exchange_declare(exchange, "fanout", internal=True)
    channel.queue_declare(target, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(target, exchange)
    ours = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    channel.queue_declare(source, durable=True, arguments=ours | arguments)
    channel.confirm_delivery()
    return source, target


def _remove(channel: BlockingChannel, name: str) -> None:
    channel.queue_delete(name)
    channel.queue_delete(f"{name}.target")
    channel.exchange_delete(f"{name}.x")


def _arrives(channel: BlockingChannel, queue: str) -> bool:
    until = time.monotonic() + _WAIT_S_MAX
    while time.monotonic() < until:
        if channel.basic_get(queue, auto_ack=True)[0] is not None:
            return True
        channel.connection.sleep(_POLL_S)
    return False


def _ttl(channel: BlockingChannel, name: str) -> str:
    source, target = _dead_lettering(channel, name, {"x-message-ttl": 100})
    channel.basic_publish("", source, b"probe", _PERSISTENT)
    came = _arrives(channel, target)
    _remove(channel, name)
    return "ok" if came else "a message outlived its queue's TTL, or was not dead-lettered"


def _delivery_limit(channel: BlockingChannel, name: str) -> str:
    limit = 2
    source, target = _dead_lettering(channel, name, {"x-delivery-limit": limit})
    channel.basic_publish("", source, b"probe", _PERSISTENT)
    for _ in range(limit + 1):
        _requeue_once(channel, source)
    came = _arrives(channel, target)
    _remove(channel, name)
    return "ok" if came else "a message was delivered more often than its queue's limit"


def _requeue_once(channel: BlockingChannel, queue: str) -> None:
    until = time.monotonic() + _WAIT_S_MAX
    while time.monotonic() < until:
        method, _, _ = channel.basic_get(queue)
        if method is not None:
            channel.basic_nack(method.delivery_tag, requeue=True)
            return
        channel.connection.sleep(_POLL_S)


def _full_queue(channel: BlockingChannel, name: str) -> str:
    source, _ = _dead_lettering(channel, name, {"x-max-length": 1})
    refused = False
    for _ in range(20):
        try:
            channel.basic_publish("", source, b"probe", _PERSISTENT)
        except pika.exceptions.NackError:
            refused = True
            break
    _remove(channel, name)
    return "ok" if refused else "a full queue did not refuse messages"


def _mandatory(channel: BlockingChannel, name: str) -> str:
    channel.confirm_delivery()
    try:
        channel.basic_publish("", name, b"probe", _PERSISTENT, mandatory=True)
    except UnroutableError:
        return "ok"
    return "an unroutable message was confirmed without being returned"


def _internal(channel: BlockingChannel, name: str) -> str:
    channel.exchange_declare(f"{name}.x", "fanout", internal=True, auto_delete=True)
    other = channel.connection.channel()
    refused = False
    try:
        other.confirm_delivery()
        other.basic_publish(f"{name}.x", "", b"probe")
    except ChannelClosedByBroker:
        refused = True
    channel.exchange_delete(f"{name}.x")
    return "ok" if refused else "a client could publish to an internal exchange"


_PROBES: dict[str, Callable[[BlockingChannel, str], str]] = {
    "queue TTL dead-letters": _ttl,
    "delivery limit dead-letters": _delivery_limit,
    "full queue refuses": _full_queue,
    "unroutable is returned": _mandatory,
    "internal exchange is closed to clients": _internal,
}
