"""The book of hosted products: adjudicates, books and takes back, each in one database transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.books import ActiveBook
from hub.hosted_answers import (
    adjudicated,
    as_it_stands,
    bill_of,
    booked,
    day_of,
    said_again,
    tombstone,
    undo_refused,
    undone,
    why_not_undone,
)
from hub.ports import Clock
from routing.hosted import adjudicate, benefit_year, refusal
from schemas.codes import Outcome
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.hosted import HostedAnswer, HostedProduct
from schemas.payer import ClaimCancel, ClaimTask, Operation
from store import hosted
from store.coverage import person_key
from store.hosted import Account

log = structlog.get_logger()

T = TypeVar("T")
TRIES_MAX = 3
"""Between reading a claim and moving it somebody else may have moved it: then it is read again."""


class HostedProducts:
    """A `HostedBook` on PostgreSQL. `open_database` is called once, when something is first asked."""

    def __init__(
        self, open_database: Callable[[], Engine], active: Callable[[], ActiveBook], secret: bytes, clock: Clock
    ) -> None:
        self._open_database = open_database
        self._active = active
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def claim(self, task: ClaimTask, timeout_s: float) -> HostedAnswer:
        """Adjudicate with what stands at this moment, and book; a repeat is answered from the book."""
        if task.operation is Operation.TRIAL:
            return self._in_one_transaction(lambda connection: self._try(connection, task), timeout_s)
        return self._in_one_transaction(lambda connection: self._settle(connection, task), timeout_s)

    def undo(self, cancel: ClaimCancel, timeout_s: float) -> HostedAnswer:
        """Take back; the accumulators get what this claim used up."""
        return self._in_one_transaction(lambda connection: self._undo(connection, cancel), timeout_s)

    def inquire(self, request_id: str, timeout_s: float) -> HostedAnswer | None:
        """How a claim stands."""

        def look(connection: Connection) -> HostedAnswer | None:
            stored = hosted.read(connection, request_id)
            return None if stored is None else as_it_stands(stored)

        return self._in_one_transaction(look, timeout_s)

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _in_one_transaction(self, work: Callable[[Connection], T], timeout_s: float) -> T:
        """Everything before the commit leaves nothing behind when it fails; a commit that fails may have succeeded."""
        committing = False
        try:
            with self._database().connect() as connection:
                transaction = connection.begin()
                hosted.within(connection, timeout_s)
                found = work(connection)
                committing = True
                transaction.commit()
                return found
        except SQLAlchemyError as error:
            log.warning("hosted_book_away", committing=committing, error=type(error).__name__)
            if committing:
                raise OutcomeUnknown("the commit was not confirmed") from error
            raise Unavailable("the book of hosted products cannot be reached") from error

    def _database(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._open_database()
            return self._engine

    def _settle(self, connection: Connection, task: ClaimTask) -> HostedAnswer:
        if (stored := hosted.read(connection, task.request_id)) is not None:
            return said_again(stored)
        active, now = self._active(), self._clock.now()
        product, account, policy_from = self._account(connection, active, task)
        if product is None:
            found = refusal("product.unknown", Outcome.DEFERRED)
        else:
            found = adjudicate(product, bill_of(task, policy_from), hosted.lock(connection, account, now))
        answer = adjudicated(task, found, active.version, now)
        if hosted.add(connection, booked(task, account, found, answer)):
            return answer
        # An undo came first, or a repeat of this claim: what that one stored is what counts.
        stored = hosted.read(connection, task.request_id)
        if stored is None:
            raise Unavailable("a claim that was in the way is gone", request_id=task.request_id)
        return said_again(stored)

    def _try(self, connection: Connection, task: ClaimTask) -> HostedAnswer:
        active = self._active()
        product, account, policy_from = self._account(connection, active, task)
        if product is None:
            found = refusal("product.unknown", Outcome.DEFERRED)
        else:
            found = adjudicate(product, bill_of(task, policy_from), hosted.used(connection, account))
        return adjudicated(task, found, active.version, self._clock.now())

    def _account(
        self, connection: Connection, active: ActiveBook, task: ClaimTask
    ) -> tuple[HostedProduct | None, Account, date | None]:
        """The product of the rule book in force, whose accumulators count, and when the policy began."""
        product, day = active.book.product_by_code.get(task.product), day_of(task)
        key = person_key(self._secret, task.patient.id_type, task.patient.id_no)
        account = Account(task.product, key, task.policy_no or "", day.year)
        if product is None or not product.needs_coverage:
            return product, account, None
        policy_from = hosted.policy_from(connection, account, day)
        year = benefit_year(product, day, policy_from)
        return product, Account(account.product, key, account.policy_no, year), policy_from

    def _undo(self, connection: Connection, cancel: ClaimCancel) -> HostedAnswer:
        now = self._clock.now()
        for _ in range(TRIES_MAX):
            stored = hosted.read(connection, cancel.original_request_id)
            if stored is None and cancel.operation is Operation.REVERSE:
                if hosted.add(connection, tombstone(cancel, now)):
                    return undone(cancel, now)
            elif code := why_not_undone(cancel, stored):
                return undo_refused(cancel, code, now)
            elif stored is not None:
                if stored.undone_at is not None:
                    return undone(cancel, stored.undone_at, stored.use.paid_fen)
                state = "cancelled" if stored.state == "approved" else "blocked"
                if hosted.undo(connection, stored, state, cancel.request_id, now):
                    return undone(cancel, now, stored.use.paid_fen)
        raise Unavailable("the claim is being moved by somebody else", request_id=cancel.original_request_id)
