"""What institution and hub compare and confirm about settlements that are done: cases, totals, payments."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Bilingual, Identifier, InstitutionCode, PartyCode, RegionCode, Value
from schemas.codes import InsuranceType, VisitKind
from schemas.money import Money, SignedMoney

CHECKED_MAX = 5000


class Period(Value):
    """First and last business day, both included, as the basic system dates settlements, China Standard Time."""

    first: date
    last: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise PydanticCustomError("period.last", "last: lies before first")
        return self


class CheckedCase(Value):
    """One settlement as the institution has it. `payers_paid` is what all payers bear together; 0 if cancelled."""

    settlement_no: Identifier
    total: Money
    payers_paid: Money
    cash: Money
    cancelled: bool = False


class CaseCheck(Value):
    """`case.check` (案件核对; national 3202): the institution's settlements of a period, one by one."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    request_no: Identifier
    period: Period
    cases: Annotated[tuple[CheckedCase, ...], Field(max_length=CHECKED_MAX)]

    @model_validator(mode="after")
    def _numbers_differ(self) -> Self:
        if len({case.settlement_no for case in self.cases}) != len(self.cases):
            raise PydanticCustomError("cases.settlement_no", "cases: name each settlement once")
        return self


class Difference(StrEnum):
    """What is wrong with one settlement."""

    UNKNOWN_HERE = "unknown_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    STATE = "state"


class CaseDifference(Value):
    """One settlement that the two sides see differently; `ours` and `theirs` are what payers bear."""

    settlement_no: str
    kind: Difference
    ours: Money | None = None
    theirs: Money | None = None
    meaning: Bilingual


class CaseCheckAnswer(Value):
    """Balanced when nothing differs."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    period: Period
    balanced: bool
    matched: int
    differences: tuple[CaseDifference, ...]
    answered_at: AwareDatetime


class FeesSettle(Value):
    """`fees.settle` (费用结算; national 3201): the institution's totals of a period, to be paid by the payers.

    A settlement cancelled inside the period counts for nothing, as does a trial.
    """

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    request_no: Identifier
    period: Period
    region: RegionCode
    insurance_type: InsuranceType | None = None
    visit_kind: VisitKind | None = None
    payer: PartyCode | None = None
    """Only this payer's part; all payers together when left out."""
    count: Annotated[int, Field(ge=0, le=10_000_000)]
    total: Money
    payers_paid: Money
    account: Money
    cash: Money


class FeesSettleAnswer(Value):
    """Our totals beside theirs."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    period: Period
    balanced: bool
    count: int
    total: Money
    payers_paid: Money
    account: Money
    cash: Money
    difference: SignedMoney
    """Theirs less ours, of what payers bear."""
    meaning: Bilingual
    answered_at: AwareDatetime


class PaymentConfirm(Value):
    """`payment.confirm` (机构付款确认): money that a payer has sent to the institution has come."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    request_no: Identifier
    payment_no: Identifier
    payer: PartyCode
    amount: Money
    paid_on: date
    period: Period
    bank_reference: Identifier | None = None


class PaymentAnswer(Value):
    """The confirmation is on record."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    payment_no: str
    payer: str
    amount: Money
    confirmed: Money
    """All payments of this payer for this period that the institution has confirmed."""
    answered_at: AwareDatetime
