"""What the book of hosted products says and writes down: no database, no clock."""

from __future__ import annotations

from datetime import date, datetime

from routing.days import CHINA_STANDARD_TIME
from routing.hosted import Adjudication, Bill
from routing.hosted_words import refusal_words
from schemas.codes import Layer, Outcome
from schemas.hosted import HostedAnswer
from schemas.payer import ClaimCancel, ClaimTask, Operation
from store.hosted import Account, HostedClaim

NOBODY = Account("", "", "", 0)


def day_of(task: ClaimTask) -> date:
    """The day of service: discharge or visit, China Standard Time."""
    return (task.visit.ended_at or task.visit.started_at).astimezone(CHINA_STANDARD_TIME).date()


def bill_of(task: ClaimTask, policy_from: date | None) -> Bill:
    """What the calculation needs of a claim."""
    return Bill(
        day=day_of(task),
        visit_kind=task.visit.kind,
        medical_type=task.visit.medical_type,
        diagnoses=task.diagnoses,
        fees=task.fees,
        total_fen=task.total,
        basic=task.basic,
        earlier_fen=sum(one.amount for one in task.earlier if one.layer is not Layer.BASIC),
        left_fen=task.left,
        policy_from=policy_from,
    )


def reference_of(request_id: str) -> str:
    """The book's own number of a claim."""
    return f"HC-{request_id}"


def adjudicated(task: ClaimTask, found: Adjudication, rulebook_version: int, at: datetime) -> HostedAnswer:
    """The answer to a claim or a trial."""
    stands = task.operation is Operation.SETTLE and found.outcome is Outcome.APPROVED
    return HostedAnswer(
        request_id=task.request_id,
        outcome=found.outcome.value,
        amount=found.amount_fen,
        payer_reference=reference_of(task.request_id) if stands else None,
        reason_code=found.reason_code,
        reason_zh=found.reason.zh,
        reason_en=found.reason.en,
        decided_at=at,
        rulebook_version=rulebook_version,
        terms_from=found.terms_from,
        trace=found.trace,
    )


def booked(task: ClaimTask, account: Account, found: Adjudication, answer: HostedAnswer) -> HostedClaim:
    """What is stored of an answered claim."""
    return HostedClaim(
        request_id=task.request_id,
        region=task.region,
        case_id=task.case_id,
        party=task.insurer,
        account=account,
        service_day=day_of(task),
        rulebook_version=answer.rulebook_version,
        state=found.outcome.value,
        answer=answer.model_dump_json(exclude_none=True).encode(),
        settled_at=answer.decided_at,
        use=found.use,
    )


def said_again(stored: HostedClaim) -> HostedAnswer:
    """The answer to a claim that is in the book: the first one, or no when it was undone since or before."""
    if stored.undone_at is None:
        return HostedAnswer.model_validate_json(stored.answer)
    words = refusal_words("product.undone")
    return HostedAnswer(
        request_id=stored.request_id,
        outcome="declined",
        amount=0,
        reason_code="product.undone",
        reason_zh=words.zh,
        reason_en=words.en,
        decided_at=stored.undone_at,
    )


def as_it_stands(stored: HostedClaim) -> HostedAnswer:
    """The answer to an inquiry about a claim, in its name."""
    if stored.undone_at is None:
        return HostedAnswer.model_validate_json(stored.answer)
    return HostedAnswer(
        request_id=stored.request_id, outcome="cancelled", amount=stored.use.paid_fen, decided_at=stored.undone_at
    )


def tombstone(cancel: ClaimCancel, at: datetime) -> HostedClaim:
    """What blocks a claim that was reversed before it came."""
    return HostedClaim(
        request_id=cancel.original_request_id,
        region="",
        case_id=cancel.case_id,
        party=cancel.insurer,
        account=NOBODY,
        service_day=None,
        rulebook_version=0,
        state="blocked",
        answer=b"",
        settled_at=at,
        undone_at=at,
        undo_request_id=cancel.request_id,
    )


def why_not_undone(cancel: ClaimCancel, stored: HostedClaim | None) -> str:
    """Why a cancel is refused; empty when it is not. A reversal takes back whatever there is."""
    if cancel.operation is Operation.REVERSE:
        return ""
    if stored is None:
        return "product.no_such_claim"
    if stored.state not in ("approved", "cancelled"):
        return "product.not_standing"
    named = cancel.original_reference in (None, reference_of(stored.request_id))
    return "" if named and cancel.amount == stored.use.paid_fen else "product.not_mirrored"


def undone(cancel: ClaimCancel, at: datetime, amount_fen: int = 0) -> HostedAnswer:
    """The confirmation of an undo; a repeat says the same."""
    return HostedAnswer(request_id=cancel.request_id, outcome="cancelled", amount=amount_fen, decided_at=at)


def undo_refused(cancel: ClaimCancel, code: str, at: datetime) -> HostedAnswer:
    """The refusal of a cancel; nothing was changed."""
    words = refusal_words(code)
    return HostedAnswer(
        request_id=cancel.request_id,
        outcome="declined",
        amount=0,
        reason_code=code,
        reason_zh=words.zh,
        reason_en=words.en,
        decided_at=at,
    )
