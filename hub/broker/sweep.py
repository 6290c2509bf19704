"""Publishing again what stayed in the outbox: a crash, a lost connection, a returned message."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine

from hub.broker.transport import OutboundMessage, Transport
from store import outbox
from store.outbox import StoredMessage

log = structlog.get_logger(__name__)

_OLDER_THAN_S = 2.0
_LEASE_S = 15.0
_COUNT_MAX = 500


def sweep_outbox(
    engine: Engine,
    transport: Transport,
    *,
    older_than_s: float = _OLDER_THAN_S,
    lease_s: float = _LEASE_S,
    limit: int = _COUNT_MAX,
) -> int:
    """One turn: remove what was confirmed, publish what is older than `older_than_s`; returns how many were published.

    Call it again at once when it returned `limit`. `lease_s` exceeds the publisher's own deadline, after which a
    missing confirm is an unknown outcome. While the broker is away nothing is leased, so nothing backs off.
    """
    confirmed = transport.take_confirmed()
    with engine.begin() as connection:
        outbox.delete(connection, confirmed)
        stale = outbox.lease_stale(connection, older_than_s, lease_s, limit) if transport.healthy() else []
    if stale:
        log.warning("outbox_swept", messages=len(stale), again=sum(row.attempt > 1 for row in stale))
        transport.publish([outbound(row) for row in stale])
    return len(stale)


def outbound(row: StoredMessage) -> OutboundMessage:
    """An outbox row as it is published."""
    return OutboundMessage(
        message_id=row.message_id,
        exchange=row.exchange,
        routing_key=row.routing_key,
        body=row.body,
        type=row.type,
        correlation_id=row.correlation_id,
        content_type=row.content_type,
        headers=row.headers,
        region=row.region,
        outbox_id=row.outbox_id,
    )
