"""The transport without a broker: the outbox table is the queue.

One dispatcher thread per process leases due rows for all its subscriptions in one statement and, in the same
transaction, carries the verdicts given since the last turn. Several processes may share the table. A row whose lease
runs out, since its process died, is due again.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from hub.broker.batches import HandlerThreads
from hub.broker.returns import restored
from hub.broker.topology import Topology, out_queue
from hub.broker.transport import DELIVERY_LIMIT, OutboundMessage, Subscription, Verdict, VerdictKind
from store import outbox
from store.outbox import DeadLetter, StoredMessage

log = structlog.get_logger(__name__)

_LEASE_S = 30.0
_POLL_S = 0.1
_PAUSE_AFTER_FAILURE_S = 1.0
_RESOLVE_EVERY_S = 30.0
_LAPSES_MAX = 5
_LEASE_COUNT_MAX = 500

_VERDICTS_MAX = 256
_NO_FSYNC = text("SET synchronous_commit = off")


class EmbeddedDelivery:
    """An outbox row as a received message."""

    __slots__ = ("_queue", "_verdicted", "row")

    def __init__(self, queue: _EmbeddedQueue, row: StoredMessage) -> None:
        self._queue = queue
        self._verdicted = False
        self.row = row

    @property
    def queue(self) -> str:
        return self.row.queue

    @property
    def exchange(self) -> str:
        return self.row.exchange

    @property
    def routing_key(self) -> str:
        return self.row.routing_key

    @property
    def message_id(self) -> str:
        return self.row.message_id

    @property
    def type(self) -> str:
        return self.row.type

    @property
    def correlation_id(self) -> str:
        return self.row.correlation_id

    @property
    def reply_to(self) -> str:
        return ""

    @property
    def user_id(self) -> str:
        return ""

    @property
    def content_type(self) -> str:
        return self.row.content_type

    @property
    def headers(self) -> Mapping[str, str]:
        return restored(self.row.headers)

    @property
    def body(self) -> bytes:
        return self.row.body

    @property
    def attempt(self) -> int:
        return self.row.attempt

    @property
    def settled(self) -> bool:
        return self._queue.in_hand.get(self.row.outbox_id) is not self

    def settle(self, verdict: Verdict) -> None:
        self._queue.settle(self, verdict)


class _EmbeddedQueue:
    """One subscription: what is in hand and the verdicts given."""

    def __init__(self, subscription: Subscription, verdicts: _Verdicts, wake: Callable[[], None]) -> None:
        self.subscription = subscription
        self.in_hand: dict[int, EmbeddedDelivery] = {}
        self.handlers: HandlerThreads[EmbeddedDelivery] = HandlerThreads(subscription, on_idle=wake)
        self._verdicts = verdicts
        self._wake = wake

    @property
    def hungry(self) -> bool:
        """Whether a handler thread waits for work: what nobody would begin is better left to other processes."""
        return self.room > 0 and self.handlers.hungry

    @property
    def room(self) -> int:
        return min(self.subscription.prefetch - len(self.in_hand), _LEASE_COUNT_MAX)

    def give(self, rows: Iterable[StoredMessage]) -> None:
        deliveries = [EmbeddedDelivery(self, row) for row in rows if row.outbox_id not in self.in_hand]
        self.in_hand.update((one.row.outbox_id, one) for one in deliveries)
        self.handlers.put(deliveries)

    def settle(self, delivery: EmbeddedDelivery, verdict: Verdict) -> None:
        was_full = self.room <= 0
        if self.in_hand.pop(delivery.row.outbox_id, None) is None:
            return
        self._verdicts.add(delivery.row, verdict)
        if was_full or verdict.kind is not VerdictKind.ACK:
            self._wake()

    def give_back(self) -> None:
        """Let others have what was leased here and not begun."""
        for delivery in self.handlers.take_back():
            delivery.settle(Verdict(VerdictKind.RETRY))


@dataclass(slots=True)
class _Verdicts:
    """Verdicts that are not in the database yet; kept until their transaction has committed."""

    given: deque[tuple[StoredMessage, Verdict]] = field(default_factory=deque)

    def add(self, row: StoredMessage, verdict: Verdict) -> None:
        self.given.append((row, verdict))

    def take(self) -> list[tuple[StoredMessage, Verdict]]:
        return [self.given.popleft() for _ in range(len(self.given))]

    def put_back(self, taken: Sequence[tuple[StoredMessage, Verdict]]) -> None:
        self.given.extendleft(reversed(taken))


class EmbeddedTransport:
    """Transport on the outbox table; `start` begins to dispatch, `close` ends it."""

    def __init__(
        self, engine: Engine, topology: Topology, *, lease_s: float = _LEASE_S, poll_s: float = _POLL_S
    ) -> None:
        self._engine = engine
        self._topology = topology
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._queues: dict[str, _EmbeddedQueue] = {}
        self._verdicts = _Verdicts()
        self._listeners: dict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._wake = threading.Event()
        self._closing = False
        self._stopping = False
        self._failing = False
        self._extended_at = self._resolved_at = self._carried_at = 0.0
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="outbox-dispatcher", daemon=True)

    def start(self, timeout_s: float = 10.0) -> bool:
        """Begin to dispatch. Nothing has to be waited for; the parameter is there for likeness with RabbitMQ."""
        self._thread.start()
        return True

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """The rows are committed already: only wake the dispatcher."""
        if messages:
            self._wake.set()

    def take_confirmed(self) -> list[int]:
        """Nothing: a row is removed when its message has been handled."""
        return []

    def subscribe(self, subscription: Subscription) -> None:
        """Handle the rows of a declared queue. ValueError: it is not in the topology."""
        if not self._topology.links_of_queue(subscription.queue):
            raise ValueError(f"queue {subscription.queue} is not declared")
        self._queues[subscription.queue] = _EmbeddedQueue(subscription, self._verdicts, self._wake.set)
        self._wake.set()

    def hint(self, channel: str, payload: str) -> None:
        """Reaches listeners of this process only; whoever else waits polls the database."""
        for listener in tuple(self._listeners.get(channel, ())):
            listener(payload)

    def on_hint(self, channel: str, listener: Callable[[str], None]) -> None:
        self._listeners[channel].append(listener)

    def healthy(self) -> bool:
        return self._thread.is_alive() and not self._failing

    def stop_consuming(self, timeout_s: float) -> bool:
        self._stopping = True
        for queue in self._queues.values():
            queue.handlers.stop()
            queue.give_back()
        until = time.monotonic() + timeout_s
        while any(queue.in_hand for queue in self._queues.values()) or self._verdicts.given:
            if time.monotonic() > until:
                return False
            self._wake.set()
            time.sleep(self._poll_s / 10)
        return True

    def close(self) -> None:
        self._closing = self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        for queue in self._queues.values():
            queue.handlers.close()

    def mailbox_take(self, party: str, limit: int, lease_s: float) -> list[StoredMessage]:
        """Messages waiting for a party that fetches them; they come again unless acknowledged within `lease_s`."""
        with self._engine.begin() as connection:
            return outbox.lease_queues(connection, {out_queue(party): limit}, lease_s)

    def mailbox_ack(self, party: str, outbox_ids: Iterable[int]) -> int:
        """Remove messages the party has taken over; returns how many were there and its own."""
        with self._engine.begin() as connection:
            return outbox.delete_from(connection, out_queue(party), outbox_ids)

    # The dispatcher's thread.

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._poll_s)
            self._wake.clear()
            self._turn_safely()
        self._turn_safely()
        self._disconnect()

    def _turn_safely(self) -> None:
        try:
            while self._turn():
                pass
            self._failing = False
        except SQLAlchemyError as error:
            log.warning("outbox_dispatch_failed", error=type(error).__name__)
            self._failing = True
            self._disconnect()
            if not self._closing:
                time.sleep(_PAUSE_AFTER_FAILURE_S)

    def _turn(self) -> bool:
        """One transaction: verdicts in, due rows out. True when more may be waiting."""
        wanted = {} if self._stopping else {name: one.room for name, one in self._queues.items() if one.hungry}
        taken = self._verdicts.take() if wanted or self._verdicts_are_due() else []
        if not wanted and not taken and not self._leases_are_due():
            return False
        try:
            with self._connected().begin():
                rows = self._exchange(self._connected(), taken, wanted)
        except SQLAlchemyError:
            self._verdicts.put_back(taken)
            raise
        self._carried_at = time.monotonic()
        self._distribute(rows)
        return len(rows) > 0 and not self._stopping

    def _verdicts_are_due(self) -> bool:
        """Acknowledgements may wait a moment for company, so that a busy process does not commit them one by one."""
        waited_s = time.monotonic() - self._carried_at
        return self._stopping or waited_s >= self._poll_s or len(self._verdicts.given) >= _VERDICTS_MAX

    def _exchange(
        self, connection: Connection, taken: Sequence[tuple[StoredMessage, Verdict]], wanted: Mapping[str, int]
    ) -> list[StoredMessage]:
        _carry(connection, taken)
        if self._leases_are_due():
            self._keep_leases(connection)
        self._resolve(connection)
        return outbox.lease_queues(connection, wanted, self._lease_s)

    def _connected(self) -> Connection:
        """A connection of the dispatcher's own. A lease or an acknowledgement that a crash undoes costs one more
        delivery, which is allowed, so nobody waits for the disk here."""
        if self._connection is None:
            connection = self._engine.connect()
            connection.detach()
            connection.execute(_NO_FSYNC)
            connection.commit()
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _distribute(self, rows: Iterable[StoredMessage]) -> None:
        by_queue: dict[str, list[StoredMessage]] = defaultdict(list)
        for row in rows:
            if int(row.headers.get(outbox.LAPSES, "0")) >= _LAPSES_MAX:
                log.error("delivery_limit_reached", queue=row.queue, message_id=row.message_id)
                self._verdicts.add(row, Verdict(VerdictKind.DEAD, cause=DELIVERY_LIMIT))
            else:
                by_queue[row.queue].append(row)
        for name, ours in by_queue.items():
            self._queues[name].give(ours)

    def _leases_are_due(self) -> bool:
        return time.monotonic() - self._extended_at >= self._lease_s / 3

    def _keep_leases(self, connection: Connection) -> None:
        """A slow handler keeps its rows as long as its process lives."""
        self._extended_at = time.monotonic()
        in_hand = [id_ for queue in self._queues.values() for id_ in list(queue.in_hand)]
        outbox.extend_leases(connection, in_hand, self._lease_s)

    def _resolve(self, connection: Connection) -> None:
        """Adopt rows that were written for RabbitMQ."""
        if time.monotonic() - self._resolved_at < _RESOLVE_EVERY_S:
            return
        self._resolved_at = time.monotonic()
        outbox.resolve_queues(connection, self._topology.resolve)


def _carry(connection: Connection, verdicts: Sequence[tuple[StoredMessage, Verdict]]) -> None:
    """Acknowledged rows go, retried ones wait, dead ones move."""
    gone: list[int] = []
    later: dict[int, float] = {}
    letters: list[DeadLetter] = []
    for row, verdict in verdicts:
        if verdict.kind is VerdictKind.RETRY:
            later[row.outbox_id] = verdict.delay_s
            continue
        gone.append(row.outbox_id)
        if verdict.kind is VerdictKind.DEAD:
            letters.append(_letter(row, verdict))
    outbox.bury(connection, letters)
    outbox.delete(connection, gone)
    outbox.retry_later(connection, later)


def _letter(row: StoredMessage, verdict: Verdict) -> DeadLetter:
    return DeadLetter(
        region=row.region,
        source_queue=row.queue,
        exchange=row.exchange,
        routing_key=row.routing_key,
        message_id=row.message_id,
        type=row.type,
        correlation_id=row.correlation_id,
        content_type=row.content_type,
        cause=verdict.cause,
        detail=verdict.detail,
        headers=restored(row.headers),
        body=row.body,
        attempt=row.attempt,
    )
