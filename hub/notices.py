"""Telling payers what they want to hear outside a settlement, once the hub has taken it: a registration, fee lines, a
discharge, an adjudication that the basic system made itself.

Notices are written in the transaction of what they tell about and said by whoever runs the adapters, again and again
under one request id, until the payer has taken or refused them. Of one visit a payer hears the earlier thing first.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import structlog
from sqlalchemy.exc import SQLAlchemyError

from hub.call_pool import CallPool
from hub.calls import Payer
from hub.disclosure import disclosed_notice
from hub.ports import Clock, NoticeAdapter
from hub.routes import new_id, party_message
from hub.work import Work, WorkUnits
from routing.plan import Told
from routing.retry import POLICIES, Failure
from routing.rulebook import RuleBook
from schemas.base import read_message
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, OutcomeUnknown, Unavailable
from schemas.payer import Decision, MessageNumbers, Notice, PreparedCall, RawAnswer
from schemas.transactions import MESSAGES, SPECS, Transaction
from schemas.visit import AdmissionChange, AdmissionFacts, AdmissionRegister, FeesCancel, FeesUpload
from store import notices, numbers
from store.notices import NoticeProgress, StoredNotice
from store.numbers import Wanted

log = structlog.get_logger()

LIMIT = 50
GRACE_S = 1.0
_POLICY = POLICIES[Failure.NOTICE]
_NOTHING_THERE = (NoticeProgress.REFUSED, NoticeProgress.WITHDRAWN)
_ADMISSIONS: Mapping[str, type[AdmissionFacts]] = {
    Transaction.ADMISSION_REGISTER: AdmissionRegister,
    Transaction.ADMISSION_CHANGE: AdmissionChange,
}


@dataclass(frozen=True, slots=True)
class About:
    """What a notice is about."""

    region: str
    institution: str
    visit_id: str | None = None
    case_id: str | None = None


def tell(
    work: Work,
    about: About,
    transaction: Transaction,
    message: bytes,
    told: Sequence[Told],
    now: datetime,
    request_ids: Mapping[str, str] | None = None,
) -> None:
    """Write a notice to each payer. `request_ids` by payer where the notice's id is that of something else (a leg).

    An undo takes back the newest notice of what it undoes, and a payer that has none hears nothing. Where not a byte of
    it has left, all that the payer would have heard from there on is withdrawn. Fee lines are never withdrawn: a
    cancellation may name some lines of several uploads.
    """
    if not told:
        return
    undone = SPECS[transaction].undoes
    earlier = _earlier(work, about) if undone is not None else []
    new = []
    for one in told:
        original = None
        if undone is not None:
            mine = [each for each in earlier if each.payer == one.payer]
            original = _original(mine, undone, message)
            if original is None or (undone is not Transaction.FEES_UPLOAD and _withdraw(work, mine, original, now)):
                continue
        new.append(
            StoredNotice(
                request_id=(request_ids or {}).get(one.payer) or f"{new_id().replace('-', '')}-n",
                region=about.region,
                institution=about.institution,
                transaction=transaction.value,
                payer=one.payer,
                product=one.product,
                policy_no=one.policy_no,
                visit_id=about.visit_id,
                case_id=about.case_id,
                original_request_id=original.request_id if original is not None else None,
                message=message,
                state=NoticeProgress.WAITING,
                attempts=0,
                next_at=now,
                created_at=now,
            )
        )
    notices.add(work.connection, new)


def told_before(work: Work, visit_id: str, book: RuleBook, transaction: Transaction) -> tuple[Told, ...]:
    """Who hears of an undo: the payers that were told of the visit, whoever is responsible by now, if they want to."""
    told = {}
    for one in notices.of_visit(work.connection, visit_id):
        party = book.party_by_code.get(one.payer)
        if party is not None and transaction.value in party.notices:
            told[one.payer] = Told(one.payer, one.product, one.policy_no)
    return tuple(told.values())


def _earlier(work: Work, about: About) -> list[StoredNotice]:
    if about.visit_id is not None:
        return notices.of_visit(work.connection, about.visit_id)
    return notices.of_case(work.connection, about.case_id) if about.case_id is not None else []


def _original(mine: Sequence[StoredNotice], undone: Transaction, message: bytes) -> StoredNotice | None:
    """Of what one payer was told, the newest notice that an undo takes back; None when there is nothing (left)."""
    if undone is Transaction.FEES_UPLOAD:
        return _upload_in(mine, read_message(FeesCancel, message))
    taken_back = {one.original_request_id for one in mine}
    names = {undone, Transaction.ADJUDICATION_UPLOAD} if undone is Transaction.SETTLE else {undone}
    return next(
        (one for one in reversed(mine) if one.transaction in names and one.request_id not in taken_back),
        None,
    )


def _upload_in(mine: Sequence[StoredNotice], cancel: FeesCancel) -> StoredNotice | None:
    """The newest upload with lines that the cancellation takes back, unless the payer has refused it."""
    for one in reversed(mine):
        if one.transaction != Transaction.FEES_UPLOAD or one.state in _NOTHING_THERE:
            continue
        upload = read_message(FeesUpload, one.message)
        named = not cancel.line_nos or not {line.line_no for line in upload.lines}.isdisjoint(cancel.line_nos)
        if named and cancel.batch_no in (None, upload.batch_no):
            return one
    return None


def _withdraw(work: Work, mine: Sequence[StoredNotice], original: StoredNotice, now: datetime) -> bool:
    """Take back `original` and all that waits behind it, unless it may have been heard."""
    if not notices.withdraw(work.connection, original.request_id, now):
        return False
    for later in mine[mine.index(original) + 1 :]:
        notices.withdraw(work.connection, later.request_id, now)
    return True


@dataclass(frozen=True, slots=True)
class _Saying:
    """A notice on its way out: its bytes are committed."""

    stored: StoredNotice
    notice: Notice
    call: PreparedCall


class Notices:
    """Says what is due; one pass is a sweep of the adapters' role."""

    def __init__(self, work_units: WorkUnits, clock: Clock, payers: Mapping[str, Payer]) -> None:
        self._work_units = work_units
        self._clock = clock
        self._stopped = False
        self._payers = {code: payer for code, payer in payers.items() if payer.can.notices}
        self._threads = {code: max(1, payer.party.concurrency // 4) for code, payer in self._payers.items()}
        self._pools = {code: CallPool(threads, f"notice-{code}") for code, threads in self._threads.items()}
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Begin to say what is due; how many notices that is."""
        if not self._payers or self._stopped:
            return 0
        now = self._clock.now()
        with self._lock:
            ahead = self._under_way.copy()
        free = [code for code in self._payers if ahead[code] < LIMIT]
        with self._work_units.begin("notice") as work:
            due = notices.lock_due(work.connection, free, now, LIMIT)
            drawn = numbers.draw(work.connection, self._wanted(due), now)
            prepared = [self._prepared(work, stored, drawn, now, ahead) for stored in due]
            notices.save(work.connection, due)
        for saying in filter(None, prepared):
            with self._lock:
                self._under_way[saying.stored.payer] += 1
            self._pools[saying.stored.payer].submit(partial(self._said, saying))
        return len(due)

    def stop(self) -> None:
        """Begin nothing new and wait for calls under way."""
        self._stopped = True
        for pool in self._pools.values():
            pool.shutdown()

    def _said(self, saying: _Saying) -> None:
        try:
            self._say(saying)
        finally:
            with self._lock:
                self._under_way[saying.stored.payer] -= 1

    def _wanted(self, due: Sequence[StoredNotice]) -> list[Wanted]:
        found = [(one, self._payers[one.payer].can.numbers) for one in due]
        return [Wanted(one.request_id, one.payer, self._sequence(one), count) for one, count in found if count]

    def _sequence(self, one: StoredNotice) -> str:
        return "" if self._payers[one.payer].can.shared_numbers else one.institution

    def _prepared(
        self,
        work: Work,
        stored: StoredNotice,
        drawn: Mapping[str, MessageNumbers],
        now: datetime,
        ahead: Counter[str],
    ) -> _Saying | None:
        payer = self._payers[stored.payer]
        closed = payer.gate.first() if stored.attempts == 0 else payer.gate.again()
        if closed is not None:
            stored.next_at = now + timedelta(seconds=closed.again_s)
            return None
        try:
            notice = self._notice(work, stored, drawn)
            if notice is None:
                _end(stored, NoticeProgress.WITHDRAWN, now, "nothing_to_undo")
                return None
            notice = disclosed_notice(notice, payer.party.disclosure)
            call = _adapter(payer).prepare_notice(notice)
        except SQLAlchemyError:
            raise
        except InvalidMessage as error:
            log.warning("notice_not_expressible", payer=stored.payer, transaction=stored.transaction, code=error.code)
            _end(stored, NoticeProgress.REFUSED, now, "not_expressible")
            return None
        except Exception as error:  # a bug of ours: people look at this one, and the others go on
            log.exception("notice_not_prepared", payer=stored.payer, error=type(error).__name__)
            _end(stored, NoticeProgress.GIVEN_UP, now, type(error).__name__)
            return None
        stored.attempts += 1
        stored.sent = call.body
        if payer.can.by_queue:
            self._queue(work, stored, call, now)
            return None
        # Nobody says it a second time while it waits for its turn behind others that wait for slow answers.
        turns = 1 + ahead[stored.payer] // self._threads[stored.payer]
        ahead[stored.payer] += 1
        stored.next_at = now + turns * timedelta(seconds=payer.party.timeout_s + GRACE_S)
        return _Saying(stored, notice, call)

    @staticmethod
    def _queue(work: Work, stored: StoredNotice, call: PreparedCall, now: datetime) -> None:
        work.send(
            party_message(
                stored.payer,
                call.body,
                type_=f"notice.{stored.transaction}",
                correlation_id=stored.request_id,
                region=stored.region,
            )
        )
        _end(stored, NoticeProgress.TAKEN, now, "queued")

    def _notice(self, work: Work, stored: StoredNotice, drawn: Mapping[str, MessageNumbers]) -> Notice | None:
        """None for an undo of something that the payer has refused: there is nothing to take back."""
        original = None
        if stored.original_request_id is not None:
            original = self._taken_back(work, stored, stored.original_request_id)
            if original is None:
                return None
        admission, admission_reference = _admission(work, stored)
        return Notice(
            transaction=stored.transaction,
            request_id=stored.request_id,
            payer=stored.payer,
            message=read_message(MESSAGES[Transaction(stored.transaction)], stored.message),
            product=stored.product,
            policy_no=stored.policy_no,
            original_request_id=original.request_id if original is not None else None,
            original_reference=original.reference if original is not None else None,
            numbers=drawn.get(stored.request_id),
            admission=admission,
            admission_reference=admission_reference,
        )

    @staticmethod
    def _taken_back(work: Work, stored: StoredNotice, request_id: str) -> StoredNotice | None:
        """What an undo takes back, now that the payer has said something to it; None when nothing of it is there."""
        original = notices.find(work.connection, request_id)
        if original is not None and original.state not in _NOTHING_THERE:
            return original
        if stored.transaction != Transaction.FEES_CANCEL or stored.visit_id is None:
            return None
        mine = [one for one in notices.of_visit(work.connection, stored.visit_id) if one.payer == stored.payer]
        before = mine[: [one.request_id for one in mine].index(stored.request_id)]
        return _upload_in(before, read_message(FeesCancel, stored.message))

    def _say(self, saying: _Saying) -> None:
        payer = self._payers[saying.stored.payer]
        answer: RawAnswer | None = None
        try:
            answer = payer.adapter.send(saying.call, payer.party.timeout_s)
            decision = _adapter(payer).decode_notice(saying.notice, answer)
            failed = ""
        except (Unavailable, OutcomeUnknown, InvalidMessage) as error:
            decision, failed = Decision(Outcome.UNKNOWN), error.code
        except Exception as error:  # a bug of ours: the notice stays, and somebody must look
            log.exception("notice_call_failed", payer=saying.stored.payer, error=type(error).__name__)
            decision, failed = Decision(Outcome.UNKNOWN), type(error).__name__
        unheard = answer is None or (decision.outcome is Outcome.UNKNOWN and answer.status >= 500)
        payer.gate.ended(failed or "notice.unknown" if unheard else "")
        self._store(saying.stored, decision, answer, failed or decision.raw_code)

    def _store(self, stored: StoredNotice, decision: Decision, answer: RawAnswer | None, failed: str) -> None:
        now = self._clock.now()
        if answer is not None:
            stored.answered, stored.status = answer.body, answer.status
        if decision.outcome in (Outcome.APPROVED, Outcome.CANCELLED):
            stored.reference = decision.payer_reference
            _end(stored, NoticeProgress.TAKEN, now, decision.reason_code)
        elif decision.outcome is Outcome.DECLINED:
            _end(stored, NoticeProgress.REFUSED, now, decision.reason_code or decision.raw_code)
        else:
            since_s = (now - stored.created_at).total_seconds()
            delay_s = _POLICY.delay_s(stored.attempts, since_s)
            stored.reason_code = failed
            if delay_s is None:
                _end(stored, NoticeProgress.GIVEN_UP, now, failed)
            else:
                stored.next_at = now + timedelta(seconds=delay_s)
        stored.reason_zh, stored.reason_en = decision.reason_zh, decision.reason_en
        with self._work_units.begin("notice.answer") as work:
            notices.save(work.connection, [stored])


def _admission(work: Work, stored: StoredNotice) -> tuple[AdmissionFacts | None, str | None]:
    """The visit's registration as this payer took it last, and what it calls the visit."""
    if stored.visit_id is None or stored.transaction == Transaction.ADMISSION_REGISTER:
        return None, None
    told = [
        one
        for one in notices.of_visit(work.connection, stored.visit_id)
        if one.payer == stored.payer and one.transaction in _ADMISSIONS and one.state is NoticeProgress.TAKEN
    ]
    if not told:
        return None, None
    references = [one.reference for one in told if one.reference and one.transaction == Transaction.ADMISSION_REGISTER]
    facts = read_message(_ADMISSIONS[told[-1].transaction], told[-1].message)
    return facts, references[-1] if references else None


def _end(stored: StoredNotice, state: NoticeProgress, now: datetime, reason_code: str) -> None:
    stored.state, stored.ended_at, stored.reason_code = state, now, reason_code


def _adapter(payer: Payer) -> NoticeAdapter:
    adapter = payer.adapter
    assert hasattr(adapter, "prepare_notice"), f"{payer.party.adapter} declares notices and cannot carry them"
    return cast(NoticeAdapter, adapter)
