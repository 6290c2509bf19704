"""From a case to the combined answer, and to whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from adapters.hospital.codec import write_answer
from hub.routes import HINT_PREFIX, OUT_PREFIX, STAGING_PREFIX, party_message
from hub.work import Work
from routing.days import believed, day_of
from routing.life import totals
from routing.postings import STANDING
from routing.states import CaseState, LegState
from schemas.answer import CombinedAnswer, PayerShare
from schemas.base import Bilingual
from schemas.codes import CaseStatus, Layer, ShareState
from schemas.payer import Operation
from schemas.texts import CASE_MESSAGES, NEXT_STEPS, reason_text
from store import staging
from store.answers import StoredAnswer
from store.records import CaseRecord, LegRecord

_SHARE_STATES: dict[LegState, ShareState] = {
    LegState.PLANNED: ShareState.PENDING,
    LegState.CLAIMED: ShareState.PENDING,
    LegState.IN_DOUBT: ShareState.IN_DOUBT,
    LegState.APPROVED: ShareState.APPROVED,
    LegState.DECLINED: ShareState.DECLINED,
    LegState.DEFERRED: ShareState.DEFERRED,
    LegState.HELD: ShareState.HELD,
    LegState.NOT_NEEDED: ShareState.NOT_NEEDED,
    LegState.CANCELLING: ShareState.APPROVED,
    LegState.CANCEL_HELD: ShareState.APPROVED,
    LegState.CANCELLED: ShareState.CANCELLED,
    LegState.REVERSING: ShareState.IN_DOUBT,
    LegState.REVERSED: ShareState.CANCELLED,
}
# In a case that is not cancelled these are on their way back: the patient was never promised that share.
_TAKEN_BACK = {LegState.CANCELLING: ShareState.IN_DOUBT, LegState.CANCEL_HELD: ShareState.HELD}
_OPEN_SHARES = frozenset({ShareState.PENDING, ShareState.IN_DOUBT, ShareState.DEFERRED, ShareState.HELD})
_DEFAULT_REASONS = {ShareState.PENDING: "awaiting_answer", ShareState.IN_DOUBT: "answer_lost"}


def combined_answer(case: CaseRecord, now: datetime) -> CombinedAnswer:
    """The answer as the case stands. Its own validator proves that it adds up to the fen."""
    sums = totals(case)
    status = status_of(case)
    return CombinedAnswer(
        case_id=case.case_id,
        institution=case.institution,
        settlement_no=case.settlement_no,
        status=status,
        revision=case.revision,
        final=is_final(case),
        total=sums.total_fen,
        shares=tuple(_share(case, leg) for leg in case.legs),
        account=sums.account_fen,
        hospital_borne=sums.hospital_fen,
        cash=sums.cash_fen,
        deferred=sums.deferred_fen,
        business_day=case.business_day,
        answered_at=now,
        message=CASE_MESSAGES[status],
    )


def is_final(case: CaseRecord) -> bool:
    """Whether nothing about the case will change unless somebody asks for it."""
    return case.state in (CaseState.SETTLED, CaseState.DECLINED, CaseState.CANCELLED)


def status_of(case: CaseRecord) -> CaseStatus:
    """The case's state as the hospital knows it."""
    if case.state is CaseState.CANCELLING:
        return CaseStatus.CANCELLING
    if case.state is CaseState.CANCELLED:
        return CaseStatus.CANCELLED
    if case.state is CaseState.DECLINED:
        return CaseStatus.DECLINED
    basic = case.legs[0]
    if case.state is CaseState.OPEN and (basic.layer is not Layer.BASIC or basic.state is not LegState.APPROVED):
        return CaseStatus.PROCESSING
    if case.purpose is Operation.TRIAL:
        return CaseStatus.TRIAL
    whole = all(_share_state(case, leg) not in _OPEN_SHARES for leg in case.legs)
    return CaseStatus.SETTLED if whole else CaseStatus.PARTLY_SETTLED


def _share_state(case: CaseRecord, leg: LegRecord) -> ShareState:
    state = _SHARE_STATES[leg.state]
    return _TAKEN_BACK.get(leg.state, state) if case.state is CaseState.OPEN else state


def _share(case: CaseRecord, leg: LegRecord) -> PayerShare:
    state = _share_state(case, leg)
    reason_code = leg.reason_code or _DEFAULT_REASONS.get(state, "")
    return PayerShare(
        sequence=leg.leg_no,
        payer=leg.payer,
        layer=leg.layer,
        product=leg.product,
        policy_no=leg.policy_no,
        state=state,
        amount=leg.amount_fen if state is ShareState.APPROVED else 0,
        reason_code=reason_code,
        reason=_reason(leg, reason_code),
        payer_reference=leg.payer_reference,
        next_step=NEXT_STEPS.get(state) if case.state is not CaseState.CANCELLED else None,
    )


def _reason(leg: LegRecord, reason_code: str) -> Bilingual | None:
    if leg.reason_zh or leg.reason_en:
        return Bilingual(zh=leg.reason_zh or leg.reason_en, en=leg.reason_en or leg.reason_zh)
    return reason_text(reason_code)


def give_answers(work: Work, due: Sequence[CaseRecord], now: datetime) -> None:
    """Write the next revision of each case's answer and send it to everybody who asked."""
    if not due:
        return
    undone = [case.case_id for case in due if case.state in (CaseState.CANCELLING, CaseState.CANCELLED)]
    undos = work.store.answers.undos_of(work.connection, undone) if undone else {}
    stored = []
    for case in due:
        case.revision += 1
        case.changed = True
        answer = combined_answer(case, now)
        body = write_answer(answer)
        stored.append(StoredAnswer(case.case_id, case.revision, case.region, answer.final, body, now))
        asked = [(undo.reply_to, undo.correlation_id) for undo in undos.get(case.case_id, ())]
        # The first asker hears every revision; who asked for an undo hears how the undo went.
        deliver(work, case, body, [(case.reply_to, case.correlation_id), *asked])
    work.store.answers.add(work.connection, stored)


def deliver(work: Work, case: CaseRecord, body: bytes, listeners: Iterable[tuple[str, str]]) -> None:
    """Send an answer to queues (`out:<party>`), wake the gateways that wait for it (`hint:<channel>`), or note that it
    is to be written into a table (`staging:<party>`)."""
    type_ = "settlement.answer"
    for reply_to, correlation_id in dict.fromkeys(listeners):
        if reply_to.startswith(OUT_PREFIX):
            party = reply_to.removeprefix(OUT_PREFIX)
            work.send(party_message(party, body, type_=type_, correlation_id=correlation_id, region=case.region))
        elif reply_to.startswith(HINT_PREFIX):
            work.hint(reply_to.removeprefix(HINT_PREFIX), case.case_id)
        elif reply_to.startswith(STAGING_PREFIX):
            party = reply_to.removeprefix(STAGING_PREFIX)
            staging.note(work.connection, party, case.case_id, case.region, case.revision)


def business_day_of(case: CaseRecord, now: datetime) -> None:
    """Fix the day that the case counts in, once: the basic system's settlement time in China Standard Time, or where
    there is no basic system that of the first payer that has settled."""
    if case.business_day is None:
        first = case.legs[0]
        settled = [first] if first.layer is Layer.BASIC else [leg for leg in case.legs if leg.state in STANDING]
        moments = [believed(leg.decided_at, now) for leg in settled if leg.decided_at is not None]
        case.business_day = day_of(min(moments, default=now))
        case.changed = True
