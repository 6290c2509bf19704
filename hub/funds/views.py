"""Claims, payments and the trio as JSON: amounts in yuan as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.funds import NATIONAL_STATES, ClaimState, Part
from schemas.bank import BankAccount
from schemas.money import yuan_of
from store.fund_audits import Deduction, Sampled
from store.fund_figures import Standing
from store.fund_payments import Payment, PaymentFile, Unordered
from store.funds import Claim


def claim_as_dict(claim: Claim) -> dict[str, Any]:
    """A claim without what it holds."""
    applied = claim.state is ClaimState.APPLIED
    return {
        "claim_no": claim.claim_no,
        "kind": claim.kind,
        "institution": claim.institution,
        "payer": claim.payer,
        "application_no": claim.application_no,
        "first": str(claim.first_day),
        "last": str(claim.last_day),
        "region": claim.region or None,
        "visit_kind": claim.visit_kind or None,
        "insurance_type": claim.insurance_type or None,
        "way": claim.way,
        "state": claim.state.value,
        "national_state": NATIONAL_STATES.get(claim.state),
        "settlements": claim.settlements,
        "total": yuan_of(claim.total_fen),
        "shares": yuan_of(claim.amount_fen),
        "account": yuan_of(claim.account_fen),
        "asked": yuan_of(claim.asked_fen),
        "recognised": None if claim.recognised_fen is None else yuan_of(claim.recognised_fen),
        "deducted": yuan_of(claim.deducted_fen),
        "withheld": yuan_of(claim.withheld_fen),
        "payable": None if applied else yuan_of(claim.payable_fen),
        "payment_no": claim.payment_no,
        "applied_by": claim.applied_by,
        "applied_at": claim.applied_at.isoformat(),
        "audit_action": claim.audit_action,
        "audited_at": None if claim.audited_at is None else claim.audited_at.isoformat(),
        "ended_at": None if claim.ended_at is None else claim.ended_at.isoformat(),
        "reason": claim.reason,
    }


def part_as_dict(part: Part) -> dict[str, Any]:
    """What a claim comes to in one region, layer and product."""
    return {
        "region": part.region,
        "layer": part.layer,
        "product": part.product,
        "shares": yuan_of(part.amount_fen),
        "account": yuan_of(part.account_fen),
        "deducted": yuan_of(part.deducted_fen),
        "withheld": yuan_of(part.withheld_fen),
        "payable": yuan_of(part.payable_fen),
    }


def deduction_as_dict(one: Deduction) -> dict[str, Any]:
    """One deduction with its reason."""
    return {
        "deduction": one.deduction_id,
        "settlement_no": one.settlement_no or None,
        "product": one.product,
        "amount": yuan_of(one.amount_fen),
        "code": one.code,
        "reason": one.reason,
        "by": one.made_by,
        "at": one.made_at.isoformat(),
    }


def sampled_as_dict(one: Sampled) -> dict[str, Any]:
    """One settlement of a sample."""
    return {
        "settlement_no": one.settlement_no,
        "case_id": one.case_id,
        "leg_no": one.leg_no,
        "product": one.product,
        "share": yuan_of(one.amount_fen),
    }


def shown_as_dict(
    claim: Claim, parts: Sequence[Part], deductions: Sequence[Deduction], sample: Sequence[Sampled]
) -> dict[str, Any]:
    """A claim with everything that it holds."""
    return {
        **claim_as_dict(claim),
        "parts": [part_as_dict(one) for one in parts],
        "deductions": [deduction_as_dict(one) for one in deductions],
        "sample": None if claim.sample is None else {**claim.sample, "drawn": [sampled_as_dict(one) for one in sample]},
    }


def payment_as_dict(payment: Payment) -> dict[str, Any]:
    """An order; below zero the institution pays back."""
    return {
        "payment_no": payment.payment_no,
        "payer": payment.payer,
        "institution": payment.institution,
        "amount": yuan_of(payment.amount_fen),
        "state": payment.state,
        "claims": payment.claims,
        "ordered_by": payment.ordered_by,
        "order_action": payment.order_action,
        "ordered_at": payment.ordered_at.isoformat(),
        "file_no": payment.file_no,
        "paid_on": None if payment.paid_on is None else str(payment.paid_on),
        "bank_reference": payment.bank_reference,
        "ended_at": None if payment.ended_at is None else payment.ended_at.isoformat(),
        "reason": payment.reason,
        "institution_account": account_as_dict(payment.institution_account),
        "payer_account": account_as_dict(payment.payer_account),
    }


def account_as_dict(account: BankAccount | None) -> dict[str, Any] | None:
    """A bank account; None for none."""
    return None if account is None else account.model_dump(mode="json")


def unordered_as_dict(one: Unordered) -> dict[str, Any]:
    """A confirmation of what nobody ordered."""
    return {
        "payment_no": one.payment_no,
        "payer": one.payer,
        "institution": one.institution,
        "amount": yuan_of(one.amount_fen),
        "paid_on": str(one.paid_on),
    }


def file_as_dict(one: PaymentFile) -> dict[str, Any]:
    """A payment file without its bytes."""
    total = yuan_of(one.total_fen)
    return {"file_no": one.file_no, "payer": one.payer, "count": one.payments, "total": total, "sha256": one.sha256}


def standing_as_dict(one: Standing, by: Sequence[str]) -> dict[str, Any]:
    """The trio of one group."""
    return dict(zip(by, one.key, strict=True)) | {
        "advanced": yuan_of(one.advanced_fen),
        "settled": yuan_of(one.settled_fen),
        "deducted": yuan_of(one.deducted_fen),
        "to_be_settled": yuan_of(one.to_be_settled_fen),
        "ordered": yuan_of(one.ordered_fen),
    }
