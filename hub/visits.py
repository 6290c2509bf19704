"""Visits before their settlement: admission, fee lines, discharge, each with its undo, and telling the payers.

One message is one transaction under the visit's row lock. Its sender's own number makes a repeat a repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hub.books import RuleBooks
from hub.inbound import Inbound, Taken
from hub.intake import FUTURE_TOLERANCE, content_hash
from hub.notices import About, tell, told_before
from hub.ports import Clock
from hub.routes import new_id
from hub.senders import check_sender
from hub.work import Work, WorkUnits
from routing.plan import payers_told
from routing.rulebook import Institution
from routing.visits import check, refund_problem
from schemas.base import Bilingual, read_message_and_content
from schemas.errors import Conflict, Forbidden, HubError, InvalidMessage, NotFound, Violation
from schemas.transactions import SPECS, Transaction
from schemas.visit import (
    AdmissionCancel,
    AdmissionChange,
    AdmissionRegister,
    DischargeCancel,
    DischargeRegister,
    FeesAnswer,
    FeesCancel,
    FeesQuery,
    FeesUpload,
    NoticeState,
    VisitAnswer,
    VisitMessage,
    VisitState,
)
from store import notices, requests, visits
from store.coverage import person_key
from store.notices import NoticeProgress, StoredNotice
from store.requests import Kept
from store.visits import VisitRecord


@dataclass(slots=True)
class _Turn:
    """One message being taken."""

    work: Work
    inbound: Inbound
    message: Any
    institution: Institution
    now: datetime
    visit: VisitRecord | None = None

    @property
    def locked(self) -> VisitRecord:
        assert self.visit is not None
        return self.visit


class Visits:
    """Takes every transaction about a visit."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock, person_secret: bytes) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._person_secret = person_secret
        self._effects: dict[Transaction, Callable[[_Turn], None]] = {
            Transaction.ADMISSION_REGISTER: self._register,
            Transaction.ADMISSION_CHANGE: self._change,
            Transaction.ADMISSION_CANCEL: _leave_state,
            Transaction.FEES_UPLOAD: _upload,
            Transaction.FEES_CANCEL: _cancel_fees,
            Transaction.DISCHARGE_REGISTER: _discharge,
            Transaction.DISCHARGE_CANCEL: _readmit,
        }

    def take(self, inbound: Inbound) -> Taken:
        """The answer as bytes. Errors come back, not out, except a missing database."""
        try:
            message, content = read_message_and_content(SPECS[inbound.transaction].message, inbound.body)
            assert isinstance(message, VisitMessage | FeesQuery)
            institution = check_sender(self._books.active(), inbound.party, message.institution)
            if institution.visits == "none":
                raise Forbidden("the rule book keeps no visits of this institution", code="visits.not_kept")
            if isinstance(message, FeesQuery):
                return self._fees(inbound, message)
            return self._take(inbound, message, content_hash(content), institution)
        except HubError as error:
            return Taken(error=error)

    def _take(self, inbound: Inbound, message: VisitMessage, digest: str, institution: Institution) -> Taken:
        party, transaction = message.institution, inbound.transaction
        with self._work_units.begin("visit") as work:
            kept = requests.find(work.connection, party, transaction.value, message.request_no)
            if kept is not None:
                work.store.inbox.leave_a_mark(work.connection)
                return repeated(kept, digest)
            turn = _Turn(work, inbound, message, institution, self._clock.now())
            if transaction is not Transaction.ADMISSION_REGISTER:
                turn.visit = _find(work, message)
                turn.visit.state = check(transaction, turn.visit.facts)
            self._effects[transaction](turn)
            visit = turn.locked
            self._tell(turn)
            answer = self._answer(turn).model_dump_json(exclude_none=True).encode()
            requests.keep(
                work.connection,
                Kept(
                    party=party,
                    transaction=transaction.value,
                    request_no=message.request_no,
                    region=visit.region,
                    sender=inbound.party,
                    content_hash=digest,
                    body=inbound.body,
                    answer=answer,
                    received_at=inbound.received_at,
                    visit_id=visit.visit_id,
                ),
            )
            return Taken(answer=answer)

    def _register(self, turn: _Turn) -> None:
        admission: AdmissionRegister = turn.message
        _not_in_future(admission.admitted_at, "admitted_at", turn.now)
        patient = admission.patient
        turn.visit = VisitRecord(
            visit_id=new_id(),
            region=admission.region,
            institution=admission.institution,
            visit_no=admission.visit_no,
            person_key=person_key(self._person_secret, patient.id_type, patient.id_no),
            kind=admission.kind,
            state=VisitState.ADMITTED,
            version=1,
            admission=admission,
            discharge=None,
            admitted_at=admission.admitted_at,
            discharged_at=None,
            created_at=turn.now,
        )
        if not visits.insert(turn.work.connection, turn.visit):
            raise Conflict("a visit with this number is registered already", code="visit.exists")

    def _change(self, turn: _Turn) -> None:
        change: AdmissionChange = turn.message
        _not_in_future(change.admitted_at, "admitted_at", turn.now)
        visit = turn.locked
        visit.admission = AdmissionRegister.model_validate(change.model_dump())
        visit.person_key = person_key(self._person_secret, change.patient.id_type, change.patient.id_no)
        visit.kind, visit.admitted_at = change.kind, change.admitted_at
        visits.save(turn.work.connection, visit)

    def _tell(self, turn: _Turn) -> None:
        visit = turn.locked
        book = self._books.active().book
        transaction = turn.inbound.transaction
        if not any(transaction.value in party.notices for party in book.parties):
            return
        about = About(visit.region, visit.institution, visit_id=visit.visit_id)
        if SPECS[transaction].undoes is not None:
            told = told_before(turn.work, visit.visit_id, book, transaction)
        else:
            coverages = turn.work.store.coverage.find(turn.work.connection, [visit.person_key])
            told = payers_told(book, visit.admission, coverages.get(visit.person_key, ()), transaction.value)
        tell(turn.work, about, transaction, turn.inbound.body, told, turn.now)

    def _answer(self, turn: _Turn) -> VisitAnswer:
        visit = turn.locked
        return VisitAnswer(
            transaction=turn.inbound.transaction.value,
            institution=visit.institution,
            visit_no=visit.visit_no,
            request_no=turn.message.request_no,
            visit_id=visit.visit_id,
            state=visit.state,
            lines=visit.lines,
            total=visit.total_fen,
            settled=visit.settled_by is not None,
            answered_at=turn.now,
        )

    def _fees(self, inbound: Inbound, query: FeesQuery) -> Taken:
        number = (query.institution, query.visit_no)
        with self._work_units.read() as connection:
            visit = visits.read(connection, [number]).get(number)
            if visit is None:
                raise _unknown(query.visit_no)
            lines = visits.standing_lines(connection, visit.visit_id)
            told = notices.of_visit(connection, visit.visit_id)
        answer = FeesAnswer(
            transaction=inbound.transaction.value,
            institution=visit.institution,
            visit_no=visit.visit_no,
            request_no="",
            visit_id=visit.visit_id,
            state=visit.state,
            lines=visit.lines,
            total=visit.total_fen,
            settled=visit.settled_by is not None,
            fees=tuple(lines),
            notices=tuple(_notice_state(one) for one in told if one.state is not NoticeProgress.WITHDRAWN),
            answered_at=self._clock.now(),
        )
        return Taken(answer=answer.model_dump_json(exclude_none=True).encode())


def repeated(kept: Kept, digest: str) -> Taken:
    """The answer that a request with this number got; Conflict when it said something else."""
    if kept.content_hash != digest:
        raise Conflict(
            "this request number was used for another content", code="request.reused", request_no=kept.request_no
        )
    return Taken(answer=kept.answer, repeated=True)


def _find(work: Work, message: VisitMessage) -> VisitRecord:
    number = (message.institution, message.visit_no)
    visit = visits.lock(work.connection, [number]).get(number)
    if visit is None:
        raise _unknown(message.visit_no)
    return visit


def _unknown(visit_no: str) -> NotFound:
    return NotFound("no visit is registered under this number", code="visit.not_found", visit_no=visit_no)


def _leave_state(turn: _Turn) -> None:
    """The undo of an admission is its new state and no more."""
    assert isinstance(turn.message, AdmissionCancel)
    visits.save(turn.work.connection, turn.locked)


def _upload(turn: _Turn) -> None:
    upload: FeesUpload = turn.message
    visit, connection = turn.locked, turn.work.connection
    if taken := visits.taken_lines(connection, visit.visit_id, (line.line_no for line in upload.lines)):
        raise _lines("line.exists", "the visit has a line with this number: cancel that one first", taken)
    if any(line.refunds for line in upload.lines):
        standing = [line for line in visits.standing_lines(connection, visit.visit_id) if line.settled_by is None]
        if wrong := refund_problem(upload.lines, standing):
            raise _lines(
                "line.refund",
                "must name a line that no settlement holds, at its price, and at most what is left of it",
                [wrong],
            )
    visits.add_lines(connection, visit.visit_id, upload.batch_no, upload.request_no, upload.lines, turn.now)
    visits.save(connection, visit)
    visit.lines += len(upload.lines)
    visit.total_fen += sum(line.amount for line in upload.lines)


def _cancel_fees(turn: _Turn) -> None:
    cancel: FeesCancel = turn.message
    visit, connection = turn.locked, turn.work.connection
    cancelled = set(visits.cancel_lines(connection, visit.visit_id, cancel.batch_no or "", cancel.line_nos, turn.now))
    if missing := sorted(set(cancel.line_nos) - cancelled):
        raise _lines(
            "line.not_found", "no line with this number stands, or a settlement holds it: cancel that first", missing
        )
    if not cancelled:
        raise NotFound("no fee line stands that this names", code="line.not_found", visit_no=visit.visit_no)
    left = visits.standing_lines(connection, visit.visit_id)
    if wrong := refund_problem((), left):
        raise _lines("line.refund", "is a refund of a line that would be cancelled: cancel both", [wrong])
    visits.save(connection, visit)
    visit.lines, visit.total_fen = len(left), sum(line.amount for line in left)


def _discharge(turn: _Turn) -> None:
    discharge: DischargeRegister = turn.message
    visit = turn.locked
    _not_in_future(discharge.discharged_at, "discharged_at", turn.now)
    if discharge.discharged_at < visit.admitted_at:
        raise InvalidMessage(
            "the discharge lies before the admission",
            Violation("discharged_at", "visit.discharged_at", "lies before the admission; correct one of them"),
        )
    visit.discharge, visit.discharged_at = discharge, discharge.discharged_at
    visits.save(turn.work.connection, visit)


def _readmit(turn: _Turn) -> None:
    assert isinstance(turn.message, DischargeCancel)
    visit = turn.locked
    visit.discharge = visit.discharged_at = None
    visits.save(turn.work.connection, visit)


def _not_in_future(moment: datetime, field: str, now: datetime) -> None:
    tolerance: timedelta = FUTURE_TOLERANCE
    if moment > now + tolerance:
        remedy = "lies in the future; check the date and the clock of the sending system"
        raise InvalidMessage("a date lies in the future", Violation(field, "date.future", remedy))


def _lines(code: str, remedy: str, line_nos: list[str]) -> InvalidMessage:
    return InvalidMessage(
        "fee lines cannot be taken", *(Violation(f"lines[{number}]", code, remedy) for number in line_nos), code=code
    )


_STATES = {NoticeProgress.GIVEN_UP: "given_up", NoticeProgress.TAKEN: "taken", NoticeProgress.REFUSED: "refused"}


def _notice_state(one: StoredNotice) -> NoticeState:
    reason = Bilingual(zh=one.reason_zh, en=one.reason_en) if one.reason_zh or one.reason_en else None
    return NoticeState(
        payer=one.payer,
        state=_STATES.get(one.state, "waiting"),
        reference=one.reference,
        reason=reason,
    )
