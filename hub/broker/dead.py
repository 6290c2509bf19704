"""Copying dead and unroutable messages from the broker's queues into the table where people find them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from hub.broker.returns import HEADER_PREFIX, restored
from hub.broker.topology import ANSWERS, BACK, DEAD, INTAKE, UNROUTED, in_exchange
from hub.broker.transport import ACK, BatchHandler, Delivery, VerdictKind
from hub.failpoints import failpoint
from store import outbox
from store.outbox import DeadLetter

SENDER_UNPROVEN = "the sender is not proven, by its own word"
"""Begins the detail of a letter whose exchange is left empty, since a sender could have made it up."""
_TEXT_MAX = 500


def dead_copier(engine: Engine, plain: Callable[[str], str] = str) -> BatchHandler:
    """The handler of the queues `dead` and `unrouted`: copy into the table, commit, then acknowledge.

    `plain` gives the plain name of a queue as the broker calls it (`Topology.plain`).
    """

    def copy(batch: Sequence[Delivery]) -> None:
        letters = [_unroutable(one) if one.queue == UNROUTED else _letter(one, plain) for one in batch]
        with engine.begin() as connection:
            outbox.bury(connection, letters)
            failpoint("bury.before_commit")
        failpoint("bury.after_commit")
        for delivery in batch:
            delivery.settle(ACK)

    return copy


COPIED_QUEUES = (DEAD, UNROUTED)


def _letter(delivery: Delivery, plain: Callable[[str], str]) -> DeadLetter:
    raw: Mapping[str, Any] = getattr(delivery, "raw_headers", delivery.headers)
    deaths = raw.get("x-death")
    ours = raw.get(HEADER_PREFIX + "source-queue") == delivery.routing_key
    # What we set aside ourselves carries no `x-death`; whatever the broker sets aside carries one.
    if ours and deaths is None and raw.get(HEADER_PREFIX + "verdict") == VerdictKind.DEAD.value:
        return _sent_by_us(delivery, raw)
    last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    queue = plain(_plain(last.get("queue"))) or delivery.queue
    return _sent_by_the_broker(delivery, raw, last, queue)


def _sent_by_us(delivery: Delivery, raw: Mapping[str, Any]) -> DeadLetter:
    """Set aside by a verdict; the headers are ours, since a consumer strips what a sender puts there."""
    return _filled(
        delivery,
        source_queue=_plain(raw.get(HEADER_PREFIX + "source-queue")),
        **_origin(raw),
        cause=_plain(raw.get(HEADER_PREFIX + "cause")) or "dead",
        detail=_plain(raw.get(HEADER_PREFIX + "detail")),
        attempt=_attempt(raw),
    )


def _sent_by_the_broker(delivery: Delivery, raw: Mapping[str, Any], last: Mapping[str, Any], queue: str) -> DeadLetter:
    """Delivered too often or expired. `last` is the broker's own record; of it only queue and reason are surely its.

    The routing key is the one the message was published with. A queue's own name means that the message had come back
    through a retry queue (nobody else can publish to `back`), and then our headers say where it came from at first.
    """
    count = raw.get("x-delivery-count", last.get("count", 1))
    facts: dict[str, Any] = {"attempt": count if isinstance(count, int) else 1, "detail": ""}
    if queue == delivery.routing_key and queue != UNROUTED and last.get("exchange") == BACK:
        facts |= _origin(raw) | {"attempt": _attempt(raw) + int(facts["attempt"])}
    else:
        facts |= {"exchange": _plain(last.get("exchange")), "routing_key": delivery.routing_key}
        if queue in (INTAKE, ANSWERS, UNROUTED) and facts["exchange"] != in_exchange(delivery.user_id):
            # RabbitMQ before 4 believes an `x-death` that the sender wrote himself; only `user_id` is checked by it.
            facts |= {"exchange": "", "detail": f"{SENDER_UNPROVEN}: {facts['exchange']}"}
    return _filled(delivery, source_queue=queue, cause="broker." + (_plain(last.get("reason")) or "dead"), **facts)


def _origin(raw: Mapping[str, Any]) -> dict[str, str]:
    names = ("exchange", "routing_key")
    return {name: _plain(raw.get(HEADER_PREFIX + name)) for name in names}


def _attempt(raw: Mapping[str, Any]) -> int:
    attempt = _plain(raw.get(HEADER_PREFIX + "attempt"))
    return int(attempt) if attempt.isdecimal() else 1


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
        content_type=delivery.content_type,
        headers=restored(delivery.headers),
        body=delivery.body,
        **facts,
    )


def _plain(value: object) -> str:
    return value[:_TEXT_MAX] if isinstance(value, str) else ""
