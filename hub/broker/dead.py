"""Copying dead and unroutable messages from the broker's queues into the table where people find them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from hub.broker.returns import HEADER_PREFIX, restored
from hub.broker.topology import DEAD, UNROUTED
from hub.broker.transport import ACK, BatchHandler, Delivery, VerdictKind
from store import outbox
from store.outbox import DeadLetter

_TEXT_MAX = 500


def dead_copier(engine: Engine) -> BatchHandler:
    """The handler of the queues `dead` and `unrouted`: copy into the table, commit, then acknowledge."""

    def copy(batch: Sequence[Delivery]) -> None:
        letters = [_unroutable(one) if one.queue == UNROUTED else _letter(one) for one in batch]
        with engine.begin() as connection:
            outbox.bury(connection, letters)
        for delivery in batch:
            delivery.settle(ACK)

    return copy


COPIED_QUEUES = (DEAD, UNROUTED)


def _letter(delivery: Delivery) -> DeadLetter:
    raw: Mapping[str, Any] = getattr(delivery, "raw_headers", delivery.headers)
    ours = raw.get(HEADER_PREFIX + "source-queue") == delivery.routing_key
    if ours and raw.get(HEADER_PREFIX + "verdict") == VerdictKind.DEAD.value:
        return _sent_by_us(delivery, raw)
    return _sent_by_the_broker(delivery, raw)


def _sent_by_us(delivery: Delivery, raw: Mapping[str, Any]) -> DeadLetter:
    """Set aside by a verdict. Queue names are no transaction names, so a party's message never looks like this."""

    def ours(name: str) -> str:
        return _plain(raw.get(HEADER_PREFIX + name))

    attempt = ours("attempt")
    return _filled(
        delivery,
        source_queue=ours("source-queue"),
        exchange=ours("exchange"),
        routing_key=ours("routing_key"),
        cause=ours("cause") or "dead",
        detail=ours("detail"),
        attempt=int(attempt) if attempt.isdecimal() else 1,
    )


def _sent_by_the_broker(delivery: Delivery, raw: Mapping[str, Any]) -> DeadLetter:
    """Delivered too often, say; the broker's own record of it comes first in `x-death`."""
    deaths = raw.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    count = raw.get("x-delivery-count", last.get("count", 1))
    return _filled(
        delivery,
        source_queue=_plain(last.get("queue")) or delivery.queue,
        exchange=_plain(last.get("exchange")),
        routing_key=delivery.routing_key,
        cause="broker." + (_plain(last.get("reason")) or "dead"),
        detail="",
        attempt=count if isinstance(count, int) else 1,
    )


def _unroutable(delivery: Delivery) -> DeadLetter:
    return _filled(
        delivery,
        source_queue=UNROUTED,
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        cause="message.unroutable",
        detail="no queue is bound for this exchange and routing key",
        attempt=1,
    )


def _filled(delivery: Delivery, **facts: Any) -> DeadLetter:
    # A party's message may come without an id; its content then tells a redelivery from another message.
    message_id = delivery.message_id or "sha256:" + hashlib.sha256(delivery.body).hexdigest()
    return DeadLetter(
        region="",
        message_id=message_id,
        type=delivery.type,
        correlation_id=delivery.correlation_id,
        headers=restored(delivery.headers),
        body=delivery.body,
        **facts,
    )


def _plain(value: object) -> str:
    return value[:_TEXT_MAX] if isinstance(value, str) else ""
