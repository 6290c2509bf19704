"""Undo and query: what a hospital asks about a settlement it made before."""

from __future__ import annotations

from datetime import timedelta

from adapters.hospital.codec import write_answer
from hub.answers import combined_answer, give_answers
from hub.books import RuleBooks
from hub.inbound import Inbound, Taken
from hub.intake import TOMBSTONE, content_hash, message_id_reused, not_found
from hub.ports import Clock
from hub.progress import UNDO_ANSWER_S, advance_all
from hub.recorded import tell_of_cancellation
from hub.routes import leg_command, new_id
from hub.senders import check_sender
from hub.work import Work, WorkUnits
from routing.rulebook import Institution
from routing.states import CaseEvent, CaseState, LegState
from schemas.base import read_message, read_message_and_content
from schemas.errors import HubError
from schemas.payer import Operation
from schemas.settlement import CancelRequest, CaseQuery, ReverseRequest
from schemas.transactions import Transaction
from store.answers import StoredUndo
from store.exchanges import HOSPITAL_LEG, Exchange
from store.inbox import Received
from store.records import CaseRecord


class Undo:
    """Takes `settlement.cancel` and `settlement.reverse`: what payers settled, or may have settled, is undone in the
    opposite order; doing it twice is harmless. A reversal that comes before its settlement leaves a tombstone."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock

    def take(self, inbound: Inbound) -> Taken:
        """The case, with its answer if it is undone already. Errors come back, not out, except a missing database."""
        try:
            model: type[CancelRequest] | type[ReverseRequest] = CancelRequest
            if inbound.transaction is Transaction.REVERSE:
                model = ReverseRequest
            request, content = read_message_and_content(model, inbound.body)
            institution = check_sender(self._books.active(), inbound.party, request.institution)
            with self._work_units.begin("undo") as work:
                buried = model is ReverseRequest and self._bury_unborn(
                    work, inbound, request.settlement_no, institution
                )
                return self._undo(work, inbound, request, content_hash(content), buried=buried)
        except HubError as error:
            return Taken(error=error)

    def _bury_unborn(self, work: Work, inbound: Inbound, settlement_no: str, institution: Institution) -> bool:
        """Take the settlement's number, unless it is taken: one unique key decides between it and the reversal."""
        key = (institution.code, settlement_no)
        if key in work.store.cases.find_by_key(work.connection, [key]):
            return False
        tombstone = CaseRecord(
            case_id=new_id(),
            region=institution.region,
            institution=institution.code,
            settlement_no=settlement_no,
            case_key=settlement_no,
            purpose=Operation.SETTLE,
            request_hash=TOMBSTONE,
            total_fen=0,
            rulebook_version=self._books.active().version,
            received_at=inbound.received_at,
            answer_by=inbound.received_at,
            reply_to=inbound.reply_to,
            correlation_id=inbound.correlation_id or inbound.message_id,
            watch_at=None,
            state=CaseState.CANCELLED,
        )
        return bool(work.store.cases.insert_new(work.connection, [tombstone]))

    def _undo(
        self, work: Work, inbound: Inbound, request: CancelRequest | ReverseRequest, digest: str, *, buried: bool
    ) -> Taken:
        key = (request.institution, request.settlement_no)
        known = work.store.cases.find_by_key(work.connection, [key])
        if key not in known:
            raise not_found(request.settlement_no)
        case = work.store.cases.lock(work.connection, [known[key][0]])[known[key][0]]
        received = Received(inbound.party, inbound.message_id, case.region, f"{inbound.transaction}:{digest}")
        if work.store.inbox.take(work.connection, [received]):
            raise message_id_reused(inbound)
        undo = StoredUndo(
            case_id=case.case_id,
            cancel_no=request.cancel_no,
            region=case.region,
            reason=request.reason,
            reply_to=inbound.reply_to,
            correlation_id=inbound.correlation_id or inbound.message_id,
            asked_at=inbound.received_at,
        )
        new = bool(work.store.answers.add_undos(work.connection, [undo]))
        if buried:
            _keep(work, case, inbound)
            case.ended_at = self._clock.now()
            give_answers(work, [case], case.ended_at)
            work.store.cases.save(work.connection, [case])
            return Taken(case_id=case.case_id)
        if case.state is CaseState.CANCELLED:
            return self._already_undone(work, case)
        if new:
            self._begin(work, case, inbound, request)
        return Taken(case_id=case.case_id, repeated=not new)

    def _begin(self, work: Work, case: CaseRecord, inbound: Inbound, request: CancelRequest | ReverseRequest) -> None:
        _keep(work, case, inbound)
        if any(leg.recorded for leg in case.legs):
            tell_of_cancellation(work, case, request, inbound.received_at)
        already_undoing = case.state is CaseState.CANCELLING
        case.apply(CaseEvent.CANCEL)
        case.ended_at = None
        now = self._clock.now()
        case.watch(now + timedelta(seconds=UNDO_ANSWER_S))
        if not already_undoing:
            # A payer that takes its tasks from a queue has perhaps not looked at it yet: it need not be waited for.
            for leg in case.legs:
                if leg.state is LegState.CLAIMED:
                    work.send(leg_command(case.case_id, leg.leg_no, leg.payer, case.region))
            advance_all(work, [case], now)
        else:
            work.store.cases.save(work.connection, [case])

    @staticmethod
    def _already_undone(work: Work, case: CaseRecord) -> Taken:
        given = work.store.answers.latest(work.connection, [case.case_id])
        return Taken(case_id=case.case_id, answer=given[case.case_id].body, repeated=True)


def _keep(work: Work, case: CaseRecord, inbound: Inbound) -> None:
    """The hospital's message as evidence."""
    received = Exchange(
        region=case.region,
        case_id=case.case_id,
        leg_no=HOSPITAL_LEG,
        party=inbound.party,
        direction="in",
        operation="reverse" if inbound.transaction is Transaction.REVERSE else "cancel",
        request_id=inbound.message_id,
        attempt=1,
        body=inbound.body,
        at=inbound.received_at,
    )
    work.store.exchanges.add(work.connection, [received])


class Queries:
    """Takes `case.query`: the stored answer, or how the case stands if none was given yet."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock

    def take(self, inbound: Inbound) -> Taken:
        """The newest answer of the case; errors come back, not out, except a missing database."""
        try:
            query = read_message(CaseQuery, inbound.body)
            check_sender(self._books.active(), inbound.party, query.institution)
            return self._find(query)
        except HubError as error:
            return Taken(error=error)

    def _find(self, query: CaseQuery) -> Taken:
        key = (query.institution, query.settlement_no)
        store = self._work_units.store
        with self._work_units.read() as connection:
            known = store.cases.find_by_key(connection, [key])
            if key not in known:
                raise not_found(query.settlement_no)
            case_id = known[key][0]
            given = store.answers.latest(connection, [case_id])
            case = store.cases.read(connection, [case_id])[case_id]
        # While an undo is under way the stored answer may still say "settled".
        if case_id in given and case.state is not CaseState.CANCELLING:
            return Taken(case_id=case_id, answer=given[case_id].body, repeated=True)
        answer = combined_answer(case, self._clock.now())
        return Taken(case_id=case_id, answer=write_answer(answer), repeated=True)
