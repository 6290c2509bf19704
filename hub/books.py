"""The rule book in force, kept in memory and refreshed when another version is activated."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from hub.ports import Clock
from routing.rulebook import RuleBook
from routing.rulebook_file import read_rule_book
from schemas.errors import Unavailable
from store import rulebooks

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ActiveBook:
    """A version number and its content."""

    version: int
    book: RuleBook


class RuleBooks:
    """Thread-safe access to rule book versions."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, RuleBook] = {}
        self._active: ActiveBook | None = None
        self._refused = 0

    def active(self) -> ActiveBook:
        """The version in force as of the last refresh; Unavailable when none has been activated."""
        return self._active or self.refresh()

    def refresh(self) -> ActiveBook:
        """Look again which version is in force; one with other parties is in force after a restart only."""
        with self._engine.connect() as connection:
            stored = rulebooks.active(connection, self._clock.now())
        if stored is None:
            raise Unavailable("no rule book is active: run `hub rules activate FILE`")
        with self._lock:
            book = self._known.get(stored.version) or read_rule_book(stored.content)
            self._known[stored.version] = book
            if self._active is not None and _endpoints(book) != _endpoints(self._active.book):
                # Adapters, queues and exchanges were built at the start for the parties of then. Cases planned for
                # others would wait for nobody, so the book that fits goes on until this process is started again.
                if stored.version != self._refused:
                    self._refused = stored.version
                    log.warning("rule_book_needs_restart", version=stored.version, in_use=self._active.version)
                return self._active
            self._active = ActiveBook(stored.version, book)
            return self._active

    def version(self, number: int) -> RuleBook:
        """One version, for explaining an older case."""
        with self._lock:
            known = self._known.get(number)
        if known is not None:
            return known
        with self._engine.connect() as connection:
            stored = rulebooks.by_version(connection, number)
        if stored is None:
            raise Unavailable("rule book version is not stored", version=number)
        book = read_rule_book(stored.content)
        with self._lock:
            self._known[number] = book
        return book


def _endpoints(book: RuleBook) -> tuple[object, ...]:
    """What the running process was built for: payers and their addresses, institutions with queues, tables to poll."""
    queues = frozenset(one.code for one in book.institutions if one.amqp)
    return frozenset(party.settings() for party in book.parties), queues, frozenset(book.staging_by_code.items())
