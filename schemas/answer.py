"""The combined answer: one bill, what each payer bears, what the patient pays now, and the next step in plain words."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import AwareDatetime, model_validator

from schemas.base import Bilingual, Value
from schemas.codes import CaseStatus, Layer, ShareState
from schemas.money import Money


class PayerShare(Value):
    """One payer's part. `amount` is what it pays: 0.00 unless the state is approved."""

    sequence: int
    payer: str
    layer: Layer
    product: str
    policy_no: str | None = None
    state: ShareState
    amount: Money
    reason_code: str = ""
    reason: Bilingual | None = None
    payer_reference: str | None = None
    next_step: Bilingual | None = None


class RouteStep(Value):
    """Why a payer is in the plan, or why it is not."""

    payer: str
    layer: Layer
    rule: str
    chosen: bool
    reason: Bilingual


class CombinedAnswer(Value):
    """What the hospital gets for a settle, trial, cancel or query.

    total = sum of approved shares + account + hospital_borne + cash, always. `revision` grows with each change
    after the first answer; `final` says that no further change is expected. Parts still open are paid in cash by
    the patient now.
    """

    schema_version: Literal["1"] = "1"
    case_id: str
    institution: str
    settlement_no: str
    status: CaseStatus
    revision: int
    final: bool
    total: Money
    shares: tuple[PayerShare, ...]
    account: Money
    hospital_borne: Money
    cash: Money
    deferred: Money
    """Part of `cash` that a payer may still take over: asked of payers that have not decided."""
    business_day: date | None = None
    answered_at: AwareDatetime
    message: Bilingual
    route: tuple[RouteStep, ...] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        paid = sum(share.amount for share in self.shares)
        if paid + self.account + self.hospital_borne + self.cash != self.total:
            raise ValueError("shares, account, hospital part and cash do not add up to the total")
        return self


class ErrorAnswer(Value):
    """The refusal of a message on a queue; over HTTP the same facts travel as problem details (RFC 9457)."""

    schema_version: Literal["1"] = "1"
    error: str
    message: Bilingual
    violations: tuple[dict[str, str], ...] = ()
    case_id: str | None = None
    message_id: str | None = None
