"""An insurer's desk: claim in, book entry out, entry back into words. Shared by the REST and the queue insurer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import blake2b

import orjson

from sandbox import clock, entries
from sandbox.adjudication import (
    CommercialClaim,
    CommercialPlan,
    CriticalIllnessPlan,
    Ruling,
    adjudicate_commercial,
    adjudicate_critical_illness,
)
from sandbox.clock import CHINA
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind
from schemas.money import yuan_of
from schemas.payer import ClaimCancel, ClaimTask

NOBODY = "00000000-0000-0000-0000-000000000000"
TOO_MUCH_FEN = 1_000_000_00
_POLICY = re.compile(r"[A-Z0-9]+-([0-9]{8})-[0-9]+", re.ASCII)


def policy_number(prefix: str, valid_from: date, serial: int) -> str:
    """A policy number; the day on which the policy begins is part of it."""
    return f"{prefix}-{valid_from:%Y%m%d}-{serial:08d}"


def policy_start(policy_no: str | None) -> date | None:
    """The day on which a policy begins; None for a number that is none of ours."""
    found = _POLICY.fullmatch(policy_no or "")
    if found is None:
        return None
    try:
        return date.fromisoformat(found[1])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Desk:
    """What one insurer insures: critical illness, commercial products, or both."""

    prefix: str
    critical_illness: Mapping[str, CriticalIllnessPlan] = field(default_factory=dict)
    """By product."""
    commercial: Mapping[str, CommercialPlan] = field(default_factory=dict)
    """By product."""

    def judged(self, task: ClaimTask) -> Entry:
        """The entry that answers a settle or a trial; the book decides whether it stands."""
        ruling = self._rule(task)
        approved = ruling.outcome == entries.APPROVED
        return Entry(
            request_id=task.request_id,
            operation=entries.SETTLE,
            outcome=ruling.outcome,
            amount_fen=ruling.amount_fen,
            effect_fen=ruling.amount_fen,
            case_id=task.case_id,
            institution=task.institution,
            settlement_no=task.settlement_no,
            reference=self._reference(task.request_id) if approved or ruling.outcome == entries.DEFERRED else "",
            reason_code=ruling.reason_code,
            reason_zh=ruling.reason_zh,
            reason_en=ruling.reason_en,
            decided_at=_now(),
            content=f"{task.institution}|{task.settlement_no}|{task.product}|{task.policy_no}|{task.total}|{task.left}",
            detail=ruling.calculation,
        )

    def undone(self, cancel: ClaimCancel) -> Entry:
        """The entry that answers a cancel or a reversal, as wanted; the book holds it against the original."""
        return Entry(
            request_id=cancel.request_id,
            operation=cancel.operation.value,
            outcome=entries.CANCELLED,
            amount_fen=cancel.amount,
            case_id=cancel.case_id,
            institution=cancel.institution,
            settlement_no=cancel.settlement_no,
            original_request_id=cancel.original_request_id,
            reference=self._reference(cancel.request_id),
            decided_at=_now(),
            # Not the amount: one id undoes one request, whether its sender knew what stands or not.
            content=f"{cancel.original_request_id}|{cancel.institution}",
        )

    def will_not_undo(self, cancel: ClaimCancel) -> Entry:
        """The answer of an insurer that refuses to undo, whatever stands; not for the book."""
        return entries.unwilling(self.undone(cancel))

    def reviewed(self, request_id: str, amount_fen: int) -> Entry:
        """The decision by hand on a deferral: pays `amount_fen`, or declines when that is 0."""
        outcome = entries.APPROVED if amount_fen else entries.DECLINED
        return Entry(
            request_id="",
            operation=entries.REVIEW,
            outcome=outcome,
            amount_fen=amount_fen,
            original_request_id=request_id,
            reference=self._reference(request_id) if amount_fen else "",
            reason_code="" if amount_fen else "review_declined",
            reason_zh="" if amount_fen else "人工审核未通过",
            reason_en="" if amount_fen else "declined after a review by hand",
            decided_at=_now(),
        )

    def _rule(self, task: ClaimTask) -> Ruling:
        critical = self.critical_illness.get(task.product)
        if critical is not None:
            return adjudicate_critical_illness(critical, task.basic, task.left)
        plan = self.commercial.get(task.product)
        if plan is None:
            return Ruling(entries.DECLINED, 0, "unknown_product", "产品不存在", "no such product here")
        return adjudicate_commercial(plan, _commercial_claim(task))

    def _reference(self, request_id: str) -> str:
        return f"{self.prefix}{blake2b(request_id.encode(), digest_size=10).hexdigest().upper()}"


def _commercial_claim(task: ClaimTask) -> CommercialClaim:
    moment = task.visit.ended_at or task.visit.started_at
    return CommercialClaim(
        left_fen=task.left,
        in_scope_fen=task.basic.in_scope if task.basic else 0,
        fund_fen=task.basic.fund_paid if task.basic else 0,
        earlier_fen=sum(part.amount for part in task.earlier if part.layer != "basic"),
        main_diagnosis=next(diagnosis.code for diagnosis in task.diagnoses if diagnosis.main),
        visit_on=moment.astimezone(CHINA).date(),
        policy_from=policy_start(task.policy_no),
    )


def decision_json(entry: Entry, trouble: Fault | None = None) -> bytes:
    """An entry as ClaimDecision JSON; `trouble` spoils its amount or lets it answer another request."""
    if trouble is not None:
        entry = _spoiled(entry, trouble.kind)
    return orjson.dumps(
        {
            "schema_version": "1",
            "request_id": entry.request_id,
            "outcome": entry.outcome,
            "amount": yuan_of(entry.amount_fen),
            "payer_reference": entry.reference or None,
            "reason_code": entry.reason_code,
            "reason_zh": entry.reason_zh,
            "reason_en": entry.reason_en,
            "calculation": entry.detail if entry.operation not in entries.UNDO else "",
            "decided_at": entry.decided_at,
        }
    )


def _spoiled(entry: Entry, kind: FaultKind) -> Entry:
    if kind is FaultKind.WRONG_TOTAL:
        return replace(entry, amount_fen=entry.amount_fen + TOO_MUCH_FEN)
    return replace(entry, request_id=NOBODY) if kind is FaultKind.GARBAGE else entry


def _now() -> str:
    return clock.now().isoformat(timespec="milliseconds")
