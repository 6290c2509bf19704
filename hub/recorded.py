"""Parts of a bill that the basic system adjudicated itself: booked as it says, with its message as the evidence."""

from __future__ import annotations

from datetime import datetime

from hub.inbound import Inbound
from hub.notices import About, tell
from hub.work import Work
from routing.life import unclaimed_fen
from routing.plan import PlannedLeg, Told
from routing.rulebook import RuleBook
from routing.states import LegEvent
from schemas.codes import Layer, Outcome
from schemas.payer import BasicResult, Decision
from schemas.settlement import AdjudicatedShare, CancelRequest, ReverseRequest
from schemas.transactions import Transaction
from store import notices
from store.exchanges import Exchange
from store.records import GIVEN, CaseRecord, LegRecord


def record_given(work: Work, case: CaseRecord, given: dict[int, AdjudicatedShare], party: str, now: datetime) -> None:
    """Approve the legs (by number) as the message of `party` says, in their order."""
    evidence = []
    for leg_no, share in sorted(given.items()):
        leg = case.leg(leg_no)
        leg.apply(LegEvent.CLAIM)
        # Whoever adjudicated divides as it likes, coinsurers too: the bill alone is the limit.
        leg.left_fen = unclaimed_fen(case, leg)
        leg.record(_decision(case, leg, share), LegEvent.APPROVE, share.decided_at or now)
        body = share.model_dump_json(exclude_none=True).encode()
        evidence.append(_said(case, leg, party, case.purpose.value, body, Outcome.APPROVED, now))
    work.store.exchanges.add(work.connection, evidence)


def tell_of_given(work: Work, case: CaseRecord, inbound: Inbound, book: RuleBook, now: datetime) -> None:
    """Pass the message on, for the record, to every payer whose part it holds and who wants to hear of it."""
    upload = Transaction.ADJUDICATION_UPLOAD
    legs = [leg for leg in case.legs if leg.recorded and upload.value in book.party_by_code[leg.payer].notices]
    told = {leg.payer: Told(leg.payer, leg.product, leg.policy_no) for leg in legs}
    ids = {leg.payer: leg.request_id for leg in legs}
    tell(
        work,
        About(case.region, case.institution, case_id=case.case_id),
        upload,
        inbound.body,
        [*told.values()],
        now,
        ids,
    )


def take_back_recorded(work: Work, case: CaseRecord, leg: LegRecord, now: datetime) -> None:
    """Undo a leg that nobody was asked about: who adjudicated it has said by the cancellation that it is undone."""
    leg.begin_undo(LegEvent.CANCEL, now)
    leg.record(
        Decision(Outcome.CANCELLED, amount_fen=leg.amount_fen, reason_code=GIVEN), LegEvent.CANCEL_CONFIRMED, now
    )
    work.store.exchanges.add(
        work.connection, [_said(case, leg, leg.payer, "cancel", b"", Outcome.CANCELLED, now, leg.cancel_id)]
    )


def given_of(legs: tuple[PlannedLeg, ...]) -> dict[int, AdjudicatedShare]:
    """What the plan holds as adjudicated, by leg number."""
    return {leg.leg_no: leg.given for leg in legs if leg.given is not None}


def _decision(case: CaseRecord, leg: LegRecord, share: AdjudicatedShare) -> Decision:
    return Decision(
        Outcome.APPROVED,
        amount_fen=share.amount,
        payer_reference=share.reference,
        reason_code=GIVEN,
        reason_zh=share.calculation,
        reason_en=share.calculation,
        decided_at=share.decided_at,
        basic=_basic(case, share) if leg.layer is Layer.BASIC else None,
    )


def _basic(case: CaseRecord, share: AdjudicatedShare) -> BasicResult | None:
    figures = share.figures
    if figures is None:
        return None
    return BasicResult(
        total_fen=case.total_fen,
        own_pay_fen=figures.own_pay,
        over_limit_fen=figures.over_limit,
        first_self_pay_fen=figures.first_self_pay,
        in_scope_fen=figures.in_scope,
        deductible_fen=figures.deductible,
        fund_fen=share.amount,
        account_fen=figures.account,
        cash_fen=case.total_fen - share.amount - figures.account - figures.hospital,
        hospital_fen=figures.hospital,
    )


def _said(
    case: CaseRecord,
    leg: LegRecord,
    party: str,
    operation: str,
    body: bytes,
    outcome: Outcome,
    at: datetime,
    request_id: str = "",
) -> Exchange:
    return Exchange(
        region=case.region,
        case_id=case.case_id,
        leg_no=leg.leg_no,
        party=party,
        direction="in",
        operation=operation,
        request_id=request_id or leg.request_id,
        attempt=0,
        body=body,
        at=at,
        outcome=outcome.value,
    )


def tell_of_cancellation(work: Work, case: CaseRecord, request: CancelRequest | ReverseRequest, now: datetime) -> None:
    """Whoever was told of a recorded adjudication hears that it is undone."""
    message = CancelRequest(
        institution=request.institution,
        settlement_no=request.settlement_no,
        cancel_no=request.cancel_no,
        reason=request.reason,
        operator=request.operator,
    )
    earlier = notices.of_case(work.connection, case.case_id)
    told = {one.payer: Told(one.payer, one.product, one.policy_no) for one in earlier}
    about = About(case.region, case.institution, case_id=case.case_id)
    body = message.model_dump_json(exclude_none=True).encode()
    tell(work, about, Transaction.CANCEL, body, [*told.values()], now)
