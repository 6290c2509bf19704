"""A broker on virtual time: at-least-once queues with retry lanes, dead letters and everything that goes wrong there.

It keeps the hub's own topology (names, lanes, delivery limits). A confirmed message stays until it is settled; what is
unsettled when a process dies, or its connection does, comes again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hub.broker.batches import BatchRunner, cause_of, is_unavailable
from hub.broker.topology import Topology
from hub.broker.transport import BatchHandler, OutboundMessage, Subscription, Verdict, VerdictKind, retry
from simulation.chaos import Chaos, Fault
from simulation.loop import Loop, Process

LATENCY_S = (0.0005, 0.004)
REORDER_S = (0.05, 3.0)
HOLD_S_MAX = 30.0
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True)
class Letter:
    """A message in a queue. `deliveries` counts those that came to nothing since it was put there."""

    message: OutboundMessage
    attempt: int = 1
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter with the reason."""

    queue: str
    message: OutboundMessage
    cause: str
    detail: str


class SimDelivery:
    """A letter in the hands of a consumer."""

    __slots__ = ("_consumer", "letter", "settled")

    def __init__(self, consumer: Consumer, letter: Letter) -> None:
        self._consumer = consumer
        self.letter = letter
        self.settled = False

    @property
    def queue(self) -> str:
        return self._consumer.queue

    @property
    def exchange(self) -> str:
        return self.letter.message.exchange

    @property
    def routing_key(self) -> str:
        return self.letter.message.routing_key

    @property
    def message_id(self) -> str:
        return self.letter.message.message_id

    @property
    def type(self) -> str:
        return self.letter.message.type

    @property
    def correlation_id(self) -> str:
        return self.letter.message.correlation_id

    @property
    def reply_to(self) -> str:
        return ""

    @property
    def user_id(self) -> str:
        return ""

    @property
    def content_type(self) -> str:
        return self.letter.message.content_type

    @property
    def headers(self) -> Mapping[str, str]:
        return _NO_HEADERS

    @property
    def body(self) -> bytes:
        return self.letter.message.body

    @property
    def attempt(self) -> int:
        return self.letter.attempt + self.letter.deliveries

    def settle(self, verdict: Verdict) -> None:
        if not self.settled:
            self.settled = True
            self._consumer.settle(self, verdict)


class VirtualRunner(BatchRunner):
    """The consumer's own way with handlers that raise; only its waiting is virtual."""

    def __init__(self, handle: BatchHandler, loop: Loop, chaos: Chaos, process: Process) -> None:
        self._handle = handle
        self._loop = loop
        self._chaos = chaos
        self._process = process

    def _hold(self, left: list[SimDelivery], error: Exception) -> None:  # type: ignore[override]
        until = self._loop.now + HOLD_S_MAX
        pause_s = 0.2
        while self._loop.now < until:
            self._loop.sleep(self._chaos.between(pause_s / 2, pause_s, "hold", self._process.name))
            pause_s = min(pause_s * 2, 5.0)
            try:
                self._handle(left)
                return
            except Exception as again:  # noqa: BLE001 - every delivery ends in a verdict
                if not is_unavailable(again):
                    self._after_error(left, again)
                    return
                left = [one for one in left if not one.settled]
                if not left:
                    return
        for one in left:
            one.settle(retry(5.0, cause_of(error)))


class Consumer:
    """One process's subscription to one queue, for as long as its connection lasts."""

    def __init__(self, broker: Broker, process: Process, subscription: Subscription) -> None:
        self.broker = broker
        self.process = process
        self.queue = subscription.queue
        self.subscription = subscription
        self.open = True
        self.in_hand: dict[int, SimDelivery] = {}
        self._waiting: list[SimDelivery] = []
        self._busy = False
        self._runner = VirtualRunner(subscription.handle, broker.loop, broker.chaos, process)

    def deliver(self, letter: Letter) -> None:
        delivery = SimDelivery(self, letter)
        self.in_hand[id(delivery)] = delivery
        broker = self.broker
        delay_s = broker.chaos.between(*LATENCY_S, "deliver", self.queue)
        if broker.chaos.happens(Fault.REORDER, self.queue):
            delay_s += broker.chaos.between(*REORDER_S, "reorder", self.queue)
        broker.loop.after(delay_s, self._arrived, delivery)

    def _arrived(self, delivery: SimDelivery) -> None:
        if self.open:
            self._waiting.append(delivery)
            self._kick()

    def _kick(self) -> None:
        if not self._busy and self._waiting and self.process.alive:
            self._busy = True
            self.broker.loop.spawn(self.process, self._work)

    def _work(self) -> None:
        while self.open and self._waiting:
            batch = self._waiting[: self.subscription.batch_max]
            del self._waiting[: len(batch)]
            self._runner.run(batch)
        self._busy = False

    def settle(self, delivery: SimDelivery, verdict: Verdict) -> None:
        """The verdict travels to the broker; it is lost when the process or its connection dies on the way."""
        if self.open and self.process.alive:
            self.broker.loop.after(0.001, self._settled, delivery, verdict)

    def _settled(self, delivery: SimDelivery, verdict: Verdict) -> None:
        if not self.open or self.in_hand.pop(id(delivery), None) is None:
            return
        if self.broker.chaos.happens(Fault.SESSION_LOST, self.process.name, self.queue):
            self.in_hand[id(delivery)] = delivery
            self.broker.loop.note("broker", f"connection of {self.process.name} to {self.queue} lost before a verdict")
            self.broker.reconnect(self)
            return
        self.broker.carry_out(self.queue, delivery.letter, verdict)

    def close(self) -> None:
        """What is in hand goes back to the queue."""
        self.open = False
        self._waiting.clear()
        for delivery in self.in_hand.values():
            self.broker.come_again(self.queue, delivery.letter)
        self.in_hand.clear()


class Broker:
    """All queues and who consumes them."""

    def __init__(self, loop: Loop, chaos: Chaos, topology: Topology) -> None:
        self.loop = loop
        self.chaos = chaos
        self.topology = topology
        self.dead: list[Buried] = []
        self.outside: dict[str, Callable[[OutboundMessage], None]] = {}
        """Queues that parties consume."""
        self.listeners: dict[str, list[tuple[Process, Callable[[str], None]]]] = {}
        self.counts: Counter[str] = Counter()
        self._ready: dict[str, deque[Letter]] = {}
        self._consumers: dict[str, list[Consumer]] = {}
        self._limits = {queue.name: topology.deliveries_max(queue.name) for queue in topology.queues}

    # Publishing.

    def publish(self, message: OutboundMessage, confirmed: Callable[[], None]) -> None:
        """From outside or from a process; `confirmed` is called when the broker has it for sure."""
        name = message.type or message.routing_key
        if self.chaos.happens(Fault.PUBLISH_LOST, name):
            self.loop.note("broker", f"{name} is lost before it arrives")
            return
        self.loop.after(self.chaos.between(*LATENCY_S, "publish", name), self._arrived, message, confirmed)

    def _arrived(self, message: OutboundMessage, confirmed: Callable[[], None]) -> None:
        queue = self.topology.resolve(message.exchange, message.routing_key)
        self.put(queue, Letter(message))
        name = message.type or message.routing_key
        if self.chaos.happens(Fault.DUPLICATE, name):
            self.put(queue, Letter(message))
        if self.chaos.happens(Fault.CONFIRM_LOST, name):
            self.loop.note("broker", f"the confirm of {name} is lost")
        else:
            self.loop.after(0.001, confirmed)

    def put(self, queue: str, letter: Letter) -> None:
        self.counts["in"] += 1
        self._offer(queue, letter)

    def _offer(self, queue: str, letter: Letter) -> None:
        outside = self.outside.get(queue)
        if outside is not None:
            delay_s = self.chaos.between(*LATENCY_S, "outside", queue)
            if self.chaos.happens(Fault.REORDER, queue):
                delay_s += self.chaos.between(*REORDER_S, "reorder", queue)
            self.loop.after(delay_s, self._to_party, outside, letter)
            return
        live = [one for one in self._consumers.get(queue, ()) if one.open]
        if not live:
            self._ready.setdefault(queue, deque()).append(letter)
            return
        self.chaos.choose(live, "consumer", queue).deliver(letter)

    def _to_party(self, outside: Callable[[OutboundMessage], None], letter: Letter) -> None:
        self.counts["done"] += 1
        outside(letter.message)

    # Consuming.

    def subscribe(self, process: Process, subscription: Subscription) -> None:
        consumer = Consumer(self, process, subscription)
        self._consumers.setdefault(subscription.queue, []).append(consumer)
        ready = self._ready.pop(subscription.queue, ())
        for letter in ready:
            self._offer(subscription.queue, letter)

    def disconnect(self, process: Process) -> list[Subscription]:
        """Its connection is gone: what it had in hand comes again. Returns what it was subscribed to."""
        lost = []
        for consumers in self._consumers.values():
            for consumer in [one for one in consumers if one.process is process and one.open]:
                consumers.remove(consumer)
                consumer.close()
                lost.append(consumer.subscription)
        return lost

    def reconnect(self, consumer: Consumer) -> None:
        """One channel is gone and comes back after a second."""
        self._consumers[consumer.queue].remove(consumer)
        consumer.close()
        process, incarnation = consumer.process, consumer.process.incarnation

        def again() -> None:
            if process.alive and process.incarnation == incarnation:
                self.subscribe(process, consumer.subscription)

        self.loop.after(1.0, again)

    def come_again(self, queue: str, letter: Letter) -> None:
        letter = replace(letter, deliveries=letter.deliveries + 1)
        if letter.deliveries > (self._limits.get(queue) or 1_000_000):
            self.bury(queue, letter.message, "broker.delivery_limit", "")
        else:
            self._offer(queue, letter)

    def carry_out(self, queue: str, letter: Letter, verdict: Verdict) -> None:
        if verdict.kind is VerdictKind.RETRY:
            tier = self.topology.tier_for(verdict.delay_s)
            lane_ms = self.chaos.choose(tier.lane_delays_ms, "lane", queue)
            again = Letter(letter.message, letter.attempt + letter.deliveries + 1)
            self.loop.after(lane_ms / 1000, self._offer, queue, again)
        elif verdict.kind is VerdictKind.DEAD:
            self.bury(queue, letter.message, verdict.cause, verdict.detail)
        else:
            self.counts["done"] += 1

    def bury(self, queue: str, message: OutboundMessage, cause: str, detail: str) -> None:
        self.counts["dead"] += 1
        self.loop.note("broker", f"{message.type or message.routing_key} of {queue} is dead: {cause} {detail}")
        self.dead.append(Buried(queue, message, cause, detail))

    @property
    def waiting(self) -> int:
        """Messages that lie in queues or in hands."""
        in_hand = sum(len(one.in_hand) for consumers in self._consumers.values() for one in consumers if one.open)
        return in_hand + sum(len(letters) for letters in self._ready.values())


class SimTransport:
    """One process's connection to the broker: what `hub.broker.transport.Transport` asks for."""

    def __init__(self, broker: Broker, process: Process, flush: Callable[[], None]) -> None:
        self._broker = broker
        self._process = process
        self._incarnation = process.incarnation
        self._confirmed: list[int] = []
        self._flush = flush

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        if self._process.alive:
            for message in messages:
                self._broker.publish(message, lambda id_=message.outbox_id: self._confirm(id_))  # type: ignore[misc]

    def _confirm(self, outbox_id: int) -> None:
        if self._process.alive and self._process.incarnation == self._incarnation:
            self._confirmed.append(outbox_id)
            if len(self._confirmed) == 1:
                self._flush()

    def take_confirmed(self) -> list[int]:
        taken, self._confirmed = self._confirmed, []
        return taken

    def subscribe(self, subscription: Subscription) -> None:
        self._broker.subscribe(self._process, subscription)

    def hint(self, channel: str, payload: str) -> None:
        for process, listener in self._broker.listeners.get(channel, ()):
            if process.alive and not process.frozen:
                listener(payload)

    def on_hint(self, channel: str, listener: Callable[[str], None]) -> None:
        self._broker.listeners.setdefault(channel, []).append((self._process, listener))

    def healthy(self) -> bool:
        return True

    def stop_consuming(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""
