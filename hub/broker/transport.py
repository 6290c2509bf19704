"""What the hub asks of a broker, whether RabbitMQ or the embedded one on the outbox table.

Every arrow is at-least-once. A message is published only from a committed outbox row, a delivery is settled
exactly once with a verdict, and the database, not the broker, knows what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

DELIVERY_LIMIT = "delivery.limit"
"""Cause of death of a message whose every delivery took its process with it."""


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A message as it stands in the outbox; `message_id` never changes however often it is published."""

    message_id: str
    exchange: str
    routing_key: str
    body: bytes
    type: str = ""
    correlation_id: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    outbox_id: int = 0
    """The row that holds it; 0 for a message that has none (a retry or dead letter of the consumer itself)."""


class VerdictKind(Enum):
    """What becomes of a delivery."""

    ACK = "ack"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a delivery ends. `delay_s` counts for RETRY, `cause` (a code) and `detail` (no personal data) for DEAD."""

    kind: VerdictKind
    delay_s: float = 0.0
    cause: str = ""
    detail: str = ""


ACK = Verdict(VerdictKind.ACK)


def retry(delay_s: float, cause: str) -> Verdict:
    """Deliver again after about `delay_s` seconds."""
    return Verdict(VerdictKind.RETRY, delay_s=delay_s, cause=cause)


def dead(cause: str, detail: str = "") -> Verdict:
    """Set aside for people, with the reason."""
    return Verdict(VerdictKind.DEAD, cause=cause, detail=detail)


class Delivery(Protocol):
    """A received message. `settle` may be called from any thread; the first verdict counts."""

    @property
    def queue(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def message_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...
    @property
    def reply_to(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def attempt(self) -> int:
        """1 for the first delivery, more after retries; never taken from a header that a party could forge."""
        ...

    def settle(self, verdict: Verdict) -> None: ...


BatchHandler = Callable[[Sequence[Delivery]], None]
"""Handles what arrived together. It settles deliveries itself (now, or later from another thread). When it raises, the
consumer splits the batch until the culprit stands alone and gives that one the verdict of its error class."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One queue and who handles it: `batch_max` at once, `prefetch` unsettled, `workers` handler threads."""

    queue: str
    handle: BatchHandler
    prefetch: int = 256
    batch_max: int = 128
    workers: int = 1


class Transport(Protocol):
    """A running connection to the broker of one process."""

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Send committed outbox rows without waiting. Confirmed rows are reported through `take_confirmed`."""
        ...

    def take_confirmed(self) -> list[int]:
        """Outbox ids whose publication the broker has confirmed (or that no longer need a row) since the last call."""
        ...

    def subscribe(self, subscription: Subscription) -> None: ...

    def hint(self, channel: str, payload: str) -> None:
        """Best-effort wake-up of whoever listens on `channel` in any process; may be lost, never relied on."""
        ...

    def on_hint(self, channel: str, listener: Callable[[str], None]) -> None: ...

    def healthy(self) -> bool: ...

    def stop_consuming(self, timeout_s: float) -> bool:
        """Take no new deliveries and wait until those taken are settled; False when time ran out."""
        ...

    def close(self) -> None: ...
