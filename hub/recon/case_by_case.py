"""A payer's day where it can only be asked about one settlement at a time: what became of each that the hub knows of.

What the hub has never heard of cannot be found so; the payer's own statement can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import Connection, Engine

from hub.calls import Payer, ask
from hub.disclosure import disclosed
from hub.outcomes import Ending
from hub.recon.pulling_patience import NoWord
from hub.tasks import Requests, inquiry_task
from routing.days import day_of
from schemas.codes import Outcome
from schemas.errors import OutcomeUnknown
from schemas.payer import Decision, PayerTask
from schemas.statement import LineKind, StatementLine
from store import cases, exchanges, numbers, statement_facts, statements
from store.numbers import Wanted
from store.records import CaseRecord
from store.statement_facts import SharesOfDay

CHUNK = 200
CASE_BY_CASE = "asked case by case"
"""How the source of such a statement begins."""
ONLY_OURS = f"{CASE_BY_CASE}: rows that only the payer has cannot be found"
"""What must be said of every comparison with such a statement."""
_NOTHING = frozenset({Outcome.DECLINED, Outcome.NOT_FOUND, Outcome.DEFERRED})


class CaseByCase:
    """Asks one payer. Each question is committed with its message numbers before it leaves; it has no effect."""

    def __init__(
        self, engine: Engine, payer: Payer, timeout_s: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        """`timeout_s` is asked before each question, and may raise when there is no time for another."""
        self._engine = engine
        self._payer = payer
        self._timeout_s = timeout_s
        self._now = now
        self._requests = Requests(exchanges)

    def lines(self, day: date) -> Iterator[StatementLine]:
        """What the payer says stands on that day. A part of a day is no statement: OutcomeUnknown when it is not heard
        about one of them, NoWord when it is and has no usable word."""
        with self._engine.connect() as connection, connection.begin():
            statements.begin(connection)
            known = statement_facts.shares_of_day(connection, self._payer.party.code, day)
        for start in range(0, len(known), CHUNK):
            chunk = known[start : start + CHUNK]
            for share, case, task in self._tasks(chunk):
                yield from lines_of(case, share, self._asked(task), day)

    def _tasks(self, shares: Sequence[SharesOfDay]) -> list[tuple[SharesOfDay, CaseRecord, PayerTask]]:
        ids = [share.case_id for share in shares]
        with self._engine.begin() as connection:
            found, requests = cases.read(connection, ids), self._requests.of(connection, ids)
            tasks = []
            for share in shares:
                case = found[share.case_id]
                task = inquiry_task(case, case.leg(share.leg_no), requests[share.case_id])
                own = f"{task.original_request_id}-d{self._now():%Y%m%d%H%M%S}"
                told = self._numbered(connection, case, replace(task, request_id=own))
                tasks.append((share, case, disclosed(told, self._payer.party.disclosure)))
        return tasks

    def _numbered(self, connection: Connection, case: CaseRecord, task: PayerTask) -> PayerTask:
        count = self._payer.can.numbers
        if not count:
            return task
        institution = "" if self._payer.can.shared_numbers else case.institution
        original = task.original_request_id or ""
        drawn = numbers.draw(connection, [Wanted(task.request_id, task.payer, institution, count)], self._now())
        return replace(
            task,
            numbers=drawn[task.request_id],
            original_numbers=numbers.find(connection, [original]).get(original),
        )

    def _asked(self, task: PayerTask) -> Decision:
        finished = ask(self._payer.adapter, task, self._payer.adapter.prepare(task), 1, self._timeout_s())
        decision = finished.decision
        if finished.ending is Ending.DECIDED and decision is not None and decision.outcome is not Outcome.UNKNOWN:
            return decision
        # Bytes that cannot be read are an answer too: it is up, and its other days may do.
        error = NoWord if finished.body else OutcomeUnknown
        raise error("no usable word about a settlement", party=task.payer, request_id=task.request_id)


def lines_of(case: CaseRecord, share: SharesOfDay, decision: Decision, day: date) -> Iterator[StatementLine]:
    """The rows of that day that a payer's word on one settlement stands for.

    A word on something undone does not say when it was settled: then the hub's own day counts, and where the payer
    names no amount the hub's own amount.
    """
    if decision.outcome in _NOTHING:
        return
    undone = decision.outcome is Outcome.CANCELLED
    decided_on = day_of(decision.decided_at) if decision.decided_at else None
    settled_on = share.settled_on if undone else decided_on or share.settled_on
    account_fen = decision.basic.account_fen if decision.basic else share.account_fen
    line = StatementLine(
        institution=case.institution,
        settlement_no=case.settlement_no,
        request_id=case.leg(share.leg_no).request_id,
        amount=decision.amount_fen or (share.amount_fen if undone else 0),
        account=account_fen,
        at=None if undone else decision.decided_at,
    )
    if settled_on == day:
        yield line
    if undone and (decided_on or share.undone_on) == day:
        opposite = {"amount": -line.amount, "account": -line.account, "at": decision.decided_at}
        yield line.model_copy(update={"kind": LineKind.REFUND, **opposite})
