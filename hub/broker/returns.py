"""The messages a consumer sends instead of the one it received: one to wait in a retry queue, one among the dead.

What the broker would lose on the way (the sender's exchange, the attempt) travels in `x-hub-` headers. They are
believed only on messages from the exchange `back`, which the broker lets nobody publish to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

from hub.broker.topology import DEAD, RETRY, RETRY_HEADER, Topology
from hub.broker.transport import Delivery, OutboundMessage, Verdict

HEADER_PREFIX = "x-hub-"
_DETAIL_MAX = 500
_BROKER_PREFIXES = ("x-death", "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count", "x-opt-")


class RawDelivery(Delivery, Protocol):
    """A delivery whose headers can be seen as they came."""

    @property
    def raw_headers(self) -> Mapping[str, Any]: ...


def restored(headers: Mapping[str, Any]) -> dict[str, str]:
    """The sender's own text headers among all that a message carries."""
    return {
        key: value
        for key, value in headers.items()
        if isinstance(value, str) and key != RETRY_HEADER and not key.startswith((HEADER_PREFIX, *_BROKER_PREFIXES))
    }


def retry_message(topology: Topology, delivery: Delivery, verdict: Verdict) -> OutboundMessage:
    """Comes back to the delivery's queue after about `delay_s`; the lane is drawn, so that crowds spread out."""
    tier = topology.tier_for(verdict.delay_s)
    headers = _hub_headers(delivery, delivery.attempt + 1, verdict)
    headers[RETRY_HEADER] = random.choice(tier.lanes)
    return _message(delivery, RETRY, headers)


def dead_message(delivery: Delivery, verdict: Verdict) -> OutboundMessage:
    """Goes to the queue of the dead with its cause."""
    headers = _hub_headers(delivery, delivery.attempt, verdict)
    headers[HEADER_PREFIX + "verdict"] = verdict.kind.value
    return _message(delivery, DEAD, headers)


def _hub_headers(delivery: Delivery, attempt: int, verdict: Verdict) -> dict[str, str]:
    ours = {
        "attempt": str(attempt),
        "cause": verdict.cause,
        "detail": verdict.detail[:_DETAIL_MAX],
        "source-queue": delivery.queue,
        "exchange": delivery.exchange,
        "routing_key": delivery.routing_key,
        # Our own account may not publish under a party's user id, nor need it answer to a party's queue.
        "user_id": delivery.user_id,
        "reply_to": delivery.reply_to,
    }
    return {**delivery.headers, **{HEADER_PREFIX + key: value for key, value in ours.items() if value}}


def _message(delivery: Delivery, exchange: str, headers: Mapping[str, str]) -> OutboundMessage:
    return OutboundMessage(
        message_id=delivery.message_id,
        exchange=exchange,
        routing_key=delivery.queue,
        body=delivery.body,
        type=delivery.type,
        correlation_id=delivery.correlation_id,
        content_type=delivery.content_type,
        headers=headers,
    )
