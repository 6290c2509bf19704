"""The unit of work: one transaction with its outgoing messages; they leave right after the commit, never before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from hub.broker.transport import OutboundMessage, Transport
from hub.failpoints import failpoint
from hub.stores import SQL, Stores

QueueOf = Callable[[str, str], str]


@dataclass(slots=True)
class Work:
    """An open transaction. `send` and `hint` take effect only if it commits."""

    connection: Connection
    store: Stores
    outgoing: list[OutboundMessage] = field(default_factory=list)
    hints: list[tuple[str, str]] = field(default_factory=list)

    def send(self, message: OutboundMessage) -> None:
        """Write `message` to the outbox and publish it after the commit."""
        self.outgoing.append(message)

    def hint(self, channel: str, payload: str) -> None:
        """Wake whoever listens, after the commit; best effort."""
        self.hints.append((channel, payload))


class WorkUnits:
    """Opens units of work on one engine and one transport."""

    def __init__(
        self, engine: Engine, transport: Transport, queue_of: QueueOf | None = None, *, store: Stores = SQL
    ) -> None:
        self.engine = engine
        self.store = store
        self._transport = transport
        self._queue_of = queue_of

    @contextmanager
    def begin(self, name: str) -> Iterator[Work]:
        """A transaction that commits when the block ends and rolls back when it raises; `name` is for the fault tests.

        Rows whose publication the broker has confirmed since the last unit are removed in the same transaction.
        """
        confirmed: list[int] = []
        with self.engine.connect() as connection, connection.begin():
            work = Work(connection, self.store)
            yield work
            stored = self.store.outbox.add(connection, work.outgoing, self._queue_of)
            confirmed = self._transport.take_confirmed()
            self.store.outbox.delete(connection, confirmed)
            failpoint(f"{name}.before_commit")
        failpoint(f"{name}.after_commit")
        if stored:
            self._transport.publish(stored)
            failpoint(f"{name}.after_publish")
        for channel, payload in work.hints:
            self._transport.hint(channel, payload)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for reading."""
        with self.engine.connect() as connection:
            yield connection

    def flush_confirmed(self) -> int:
        """Remove confirmed rows when no other unit of work does; how many there were."""
        confirmed = self._transport.take_confirmed()
        if confirmed:
            with self.engine.begin() as connection:
                self.store.outbox.delete(connection, confirmed)
                failpoint("confirmed.before_commit")
        return len(confirmed)
