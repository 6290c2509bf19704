"""What institution and hub compare and confirm about settlements that are done: cases, totals, payments."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Bilingual, Identifier, InstitutionCode, PartyCode, RegionCode, Text, Value
from schemas.codes import InsuranceType, VisitKind
from schemas.money import Money, SignedMoney

CHECKED_MAX = 5000
CHECKED_DAYS_MAX = 31
DIFFERENCES_MAX = 2 * CHECKED_MAX
"""Of one answer: all that can be wrong with the settlements of a message, and as many that it does not name."""
CLAIMED_DAYS_MAX = 31
COUNT_MAX = 10_000_000


class ClearingWay(StrEnum):
    """clr_way: how a claim is worked out."""

    ITEM = "01"
    DISEASE = "02"
    DAY = "03"
    CAPITATION = "04"
    DRG = "05"
    OTHER = "99"


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
    """`case.check` (案件核对; national 3202): the institution's settlements of a period, one by one.

    A period is at most 31 days.
    """

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

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        if (self.period.last - self.period.first).days >= CHECKED_DAYS_MAX:
            raise PydanticCustomError("period.long", f"period: name at most {CHECKED_DAYS_MAX} days")
        return self


class Difference(StrEnum):
    """What is wrong with one settlement."""

    UNKNOWN_HERE = "unknown_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    STATE = "state"


class CaseDifference(Value):
    """One settlement that the two sides see differently; `ours` and `theirs` are what payers bear. Ours is below zero
    where a share was written off and the settlement was undone afterwards."""

    settlement_no: str
    kind: Difference
    ours: SignedMoney | None = None
    theirs: Money | None = None
    meaning: Bilingual


class CaseCheckAnswer(Value):
    """Balanced when nothing differs. `more`: further settlements are here that the institution did not name; it sees
    them when it asks for fewer days, or names what it was told of."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    period: Period
    balanced: bool
    matched: int
    differences: tuple[CaseDifference, ...]
    more: bool = False
    answered_at: AwareDatetime


class ClaimedDay(Value):
    """The institution's totals of one day, so that a difference is found at once."""

    day: date
    count: Annotated[int, Field(ge=-COUNT_MAX, le=COUNT_MAX)]
    payers_paid: SignedMoney


class ClaimPart(Value):
    """The institution asks to be paid what the period comes to (月申报; national 3203)."""

    way: ClearingWay = ClearingWay.ITEM
    applied: SignedMoney | None = None
    """What it asks for: the payers' shares, and the personal accounts of payers that pay those out too."""
    recognised: SignedMoney | None = None
    """What it considers recognised (认可费用); only kept."""
    days: Annotated[tuple[ClaimedDay, ...], Field(max_length=CLAIMED_DAYS_MAX)] = ()


class FeesSettle(Value):
    """`fees.settle` (费用结算; national 3201 and 3203): the institution's totals of a period, to be paid by the payers.

    What is undone counts against the day on which it is undone: a settlement cancelled inside the period counts for
    nothing, and totals may lie below zero. A trial counts for nothing.
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
    count: Annotated[int, Field(ge=-COUNT_MAX, le=COUNT_MAX)]
    total: SignedMoney
    payers_paid: SignedMoney
    account: SignedMoney
    cash: SignedMoney
    claim: ClaimPart | None = None
    """With it the institution asks to be paid; without it the totals are only compared."""

    @model_validator(mode="after")
    def _days_of_one_month(self) -> Self:
        first, last = self.period.first, self.period.last
        if self.claim is not None:
            if (first.year, first.month) != (last.year, last.month):
                raise PydanticCustomError("claim.month", "period: a claim is for days of one month")
            if len({one.day for one in self.claim.days}) != len(self.claim.days):
                raise PydanticCustomError("claim.days", "claim: name each day once")
        return self


class MadeClaim(Value):
    """A claim to one payer, as it was taken."""

    claim_no: int
    payer: str
    amount: SignedMoney
    """What the payer is asked for, before deductions."""


class DayFigures(Value):
    """Our totals of one day beside theirs, where they named the day."""

    day: date
    count: int
    payers_paid: SignedMoney
    their_count: int | None = None
    their_payers_paid: SignedMoney | None = None


class FeesSettleAnswer(Value):
    """Our totals beside theirs. A claim is made only where they agree; where not, `days` says our totals by day."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    period: Period
    balanced: bool
    count: int
    total: SignedMoney
    payers_paid: SignedMoney
    account: SignedMoney
    cash: SignedMoney
    difference: SignedMoney
    """Theirs less ours, of what payers bear."""
    claims: tuple[MadeClaim, ...] = ()
    days: tuple[DayFigures, ...] = ()
    meaning: Bilingual
    answered_at: AwareDatetime


class FeesSettleCancel(Value):
    """`fees.settle.cancel` (费用结算撤销; national 3204): the claims of one `fees.settle` are taken back.

    Possible until the first of their audits is closed. Taking back twice, or what claimed nothing, is harmless.
    """

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    request_no: Identifier
    settle_request_no: Identifier
    """The `request_no` of the `fees.settle` that is taken back."""
    reason: Text


class FeesSettleCancelAnswer(Value):
    """These claims stand no more."""

    schema_version: Literal["1"] = "1"
    institution: str
    request_no: str
    settle_request_no: str
    withdrawn: tuple[int, ...]
    answered_at: AwareDatetime


class PaymentConfirm(Value):
    """`payment.confirm` (机构付款确认): money that a payer has sent to the institution has come.

    A payment that was ordered here is confirmed with exactly its amount. For one below zero the institution confirms
    that it has paid back.
    """

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
    ordered: bool = False
    """Whether the payment was ordered here: then the claims that it pays are paid. One that was not is only kept."""
    repayment: bool = False
    """Whether it was the institution that paid back."""
    answered_at: AwareDatetime
