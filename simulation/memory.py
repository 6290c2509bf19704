"""A database in memory: transactions that commit or roll back as a whole, row locks that others wait for.

Read committed, as the hub uses PostgreSQL: each statement sees what is committed and what its own transaction wrote.
A connection breaks, a commit fails, or takes effect without its acknowledgement, when the seed says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import OperationalError

from simulation.chaos import Chaos, Fault
from simulation.loop import Died, Loop, Parking, Process

LOCK_TIMEOUT_S = 2.0
IDLE_TIMEOUT_S = 10.0
_GONE = object()

Row = Any
Tables = dict[str, dict[Any, Row]]
TABLES = ("cases", "legs", "keys", "requests", "answers", "undos", "inbox", "outbox", "exchanges", "coverage", "ledger")


def away(what: str, *, broken: bool = True) -> OperationalError:
    """The driver's error when the server does not answer or gives up."""
    return OperationalError(what, None, Exception(what), connection_invalidated=broken)


class Database:
    """The server: what is committed, who holds which lock. It survives the processes."""

    def __init__(self, loop: Loop, chaos: Chaos) -> None:
        self.loop = loop
        self.chaos = chaos
        self.tables: Tables = {name: {} for name in TABLES}
        self.locks: dict[Any, Transaction] = {}
        self.waiting: dict[Any, list[Parking]] = {}
        self.away_until = -1.0
        self.commits = 0
        self.outbox_id = 0
        self.exchange_id = 0
        self.observers: list[Callable[[Tables, Tables], None]] = []
        """Called with what is committed and what a transaction is about to add to it."""

    @property
    def is_away(self) -> bool:
        return self.loop.now < self.away_until

    def release(self, transaction: Transaction) -> None:
        for key in transaction.locks:
            if self.locks.get(key) is transaction:
                del self.locks[key]
                for parking in self.waiting.pop(key, ()):
                    parking.wake()
        transaction.locks.clear()

    def install(self, transaction: Transaction) -> None:
        for observer in self.observers:
            observer(self.tables, transaction.writes)
        for name, rows in transaction.writes.items():
            table = self.tables[name]
            for key, row in rows.items():
                if row is _GONE:
                    table.pop(key, None)
                else:
                    table[key] = row
        self.commits += 1


class Transaction:
    """What one transaction wrote and holds."""

    def __init__(self, database: Database, process: Process) -> None:
        self.database = database
        self.process = process
        self.writes: Tables = {}
        self.locks: dict[Any, None] = {}
        """In the order in which they were taken: a set's order would differ from one interpreter to the next."""
        self.ended = False
        self.last_at = database.loop.now

    def get(self, table: str, key: Any) -> Row | None:
        own = self.writes.get(table)
        if own is not None and key in own:
            row = own[key]
            return None if row is _GONE else row
        return self.database.tables[table].get(key)

    def put(self, table: str, key: Any, row: Row) -> None:
        self.writes.setdefault(table, {})[key] = row

    def remove(self, table: str, key: Any) -> None:
        self.writes.setdefault(table, {})[key] = _GONE

    def lock(self, key: Any) -> None:
        """Wait until nobody else holds this row; an error when that takes too long."""
        database = self.database
        while (holder := database.locks.get(key)) is not None and holder is not self:
            if not database.loop.in_task:
                raise away("lock timeout", broken=False)
            parking = Parking(database.loop)
            database.waiting.setdefault(key, []).append(parking)
            if not parking.wait(LOCK_TIMEOUT_S):
                raise away("lock timeout", broken=False)
            if self.ended:
                raise away("terminated")
        database.locks[key] = self
        self.locks[key] = None

    def try_lock(self, key: Any) -> bool:
        if self.database.locks.get(key, self) is not self:
            return False
        self.database.locks[key] = self
        self.locks[key] = None
        return True

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.database.release(self)

    def end_if_idle(self) -> None:
        """The server ends a transaction whose client has fallen silent."""
        if not self.ended and self.database.loop.now - self.last_at >= IDLE_TIMEOUT_S:
            self.end()


class Connection:
    """One process's connection, with the one transaction that it is in."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.process = engine.process
        self.database = engine.database
        self.transaction = Transaction(self.database, self.process)
        self._incarnation = self.process.incarnation

    def statement(self, what: str) -> Transaction:
        """Before each statement: others may come between, the connection may break, the server may be away."""
        database, process, transaction = self.database, self.process, self.transaction
        loop, chaos = database.loop, database.chaos
        if not process.alive or process.incarnation != self._incarnation:
            raise Died
        if loop.in_task and chaos.happens(Fault.PREEMPT, process.name):
            loop.sleep(chaos.between(0.0005, 0.4, "preempt", process.name))
        if transaction.ended:
            raise away("terminated by the server")
        if database.is_away:
            raise away("no connection")
        if chaos.happens(Fault.STATEMENT_FAILS, process.name, what):
            loop.note(process.name, f"statement {what} fails")
            raise away("connection broke")
        transaction.last_at = loop.now
        return transaction

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Commits when the block ends; rolls back when it raises."""
        try:
            yield
            self._commit()
        finally:
            self.transaction.end()

    def _commit(self) -> None:
        database, process, transaction = self.database, self.process, self.transaction
        if not process.alive:
            raise Died
        if not transaction.writes:
            return
        chaos, loop = database.chaos, database.loop
        if transaction.ended or database.is_away or chaos.happens(Fault.COMMIT_FAILS, process.name):
            loop.note(process.name, "commit fails")
            raise away("connection broke before the commit")
        database.install(transaction)
        if chaos.happens(Fault.COMMIT_ACK_LOST, process.name):
            loop.note(process.name, "committed, but the acknowledgement is lost")
            raise away("connection broke during the commit")


class MemoryEngine:
    """What `WorkUnits` takes for a SQLAlchemy engine."""

    def __init__(self, database: Database, process: Process) -> None:
        self.database = database
        self.process = process

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        connection = Connection(self)
        try:
            yield connection
        finally:
            connection.transaction.end()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Nothing is open."""
