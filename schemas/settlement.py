"""Canonical requests of a hospital: trial, settle, cancel and query of one settlement.

Money is yuan text on the wire and whole fen inside (`schemas.money`). A request that validates is consistent in itself:
lines multiply out, add up to the total, one main diagnosis, dates in order, identity number with a right check digit.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import (
    Code,
    Identifier,
    InstitutionCode,
    ItemName,
    Moment,
    Name,
    PartyCode,
    RegionCode,
    Text,
    Value,
)
from schemas.codes import (
    MEDICAL_TYPES_BY_VISIT,
    FeeCategory,
    IdentityType,
    InsuranceType,
    ItemLevel,
    Layer,
    MedicalType,
    Sex,
    VisitKind,
)
from schemas.identity import birth_date_of, id_card_problem
from schemas.money import Money, Price, Quantity, rounded_fen

FEE_LINES_MAX = 2000
DIAGNOSES_MAX = 40


def _refuse(code: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(code, remedy)


class Patient(Value):
    """The insured person. `id_no` is checked when `id_type` is 01."""

    name: Name
    id_type: IdentityType
    id_no: Annotated[str, StringConstraints(min_length=4, max_length=50, pattern=r"^[0-9A-Za-z()/-]+$")]
    sex: Sex = Sex.UNKNOWN
    birth_date: date | None = None
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9-]{5,20}$")] | None = None

    @model_validator(mode="after")
    def _identity_number_holds(self) -> Self:
        if self.id_type is not IdentityType.ID_CARD:
            return self
        if problem := id_card_problem(self.id_no):
            raise _refuse("patient.id_no", f"id_no: {problem}")
        if self.birth_date is not None and self.birth_date != birth_date_of(self.id_no):
            raise _refuse("patient.birth_date", "birth_date: differs from the identity number; correct one of them")
        return self


class Insurance(Value):
    """The scheme that the person chose for this visit, and the number the basic system knows them by."""

    type: InsuranceType
    person_no: Identifier
    region: RegionCode
    card_no: Identifier | None = None


class Visit(Value):
    """One outpatient visit, stay or pharmacy purchase."""

    visit_no: Identifier
    kind: VisitKind
    medical_type: MedicalType
    started_at: Moment
    ended_at: Moment | None = None
    department: Name | None = None
    doctor_code: Identifier | None = None

    @model_validator(mode="after")
    def _kind_and_dates_agree(self) -> Self:
        if self.medical_type not in MEDICAL_TYPES_BY_VISIT[self.kind]:
            raise _refuse("visit.medical_type", "medical_type: does not belong to this kind of visit")
        if self.ended_at is not None and self.ended_at < self.started_at:
            raise _refuse("visit.ended_at", "ended_at: lies before started_at; correct one of them")
        if self.kind is VisitKind.INPATIENT and self.ended_at is None:
            raise _refuse("visit.ended_at", "ended_at: an inpatient settlement needs the discharge moment")
        return self


class Diagnosis(Value):
    """ICD-10 or national disease code with its name; exactly one is the main diagnosis."""

    code: Code
    name: ItemName
    main: bool = False


class FeeLine(Value):
    """One line of the bill: amount = price x quantity, rounded to the fen, halves up."""

    line_no: Identifier
    item_code: Code
    item_name: ItemName
    category: FeeCategory
    level: ItemLevel = ItemLevel.FULL
    price: Price
    quantity: Quantity
    amount: Money
    occurred_on: date | None = None
    local_code: Code | None = None
    """The hospital's own code: when given, the mapping to `item_code` must be known."""

    @model_validator(mode="after")
    def _amount_multiplies_out(self) -> Self:
        if rounded_fen(self.price * self.quantity) != self.amount:
            raise _refuse("fee.amount", "amount: must be price x quantity rounded to the fen; correct one of the three")
        return self


class BasicFigures(Value):
    """A basic system's adjudication, by the names of the national interface in the comments."""

    own_pay: Money = 0  # fulamt_ownpay_amt
    over_limit: Money = 0  # overlmt_selfpay
    first_self_pay: Money = 0  # preselfpay_amt
    in_scope: Money = 0  # inscp_scp_amt, before any fund pays
    deductible: Money = 0  # act_pay_dedc
    account: Money = 0  # acct_pay
    hospital: Money = 0  # hosp_part_amt


class AdjudicatedShare(Value):
    """A part of the bill that the basic system has adjudicated itself: nobody else is asked about it."""

    layer: Layer
    payer: PartyCode
    product: Identifier | None = None
    """Needed only where one payer has several products in the layer."""
    amount: Money
    reference: Identifier | None = None
    figures: BasicFigures | None = None
    decided_at: Moment | None = None
    """When it was adjudicated; of the basic layer it decides the business day. Now, when left out."""
    calculation: Annotated[str, StringConstraints(max_length=1000)] = ""

    @model_validator(mode="after")
    def _figures_belong_to_the_basic_layer(self) -> Self:
        if (self.figures is not None) != (self.layer is Layer.BASIC):
            raise _refuse("adjudicated.figures", "figures: go with the basic layer and with no other")
        return self


class SettlementRequest(Value):
    """What a trial and a settlement have in common: who, where, what for, how much."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    settlement_no: Identifier
    region: RegionCode
    patient: Patient
    insurance: Insurance
    visit: Visit
    diagnoses: Annotated[tuple[Diagnosis, ...], Field(min_length=1, max_length=DIAGNOSES_MAX)]
    fees: Annotated[tuple[FeeLine, ...], Field(min_length=1, max_length=FEE_LINES_MAX)]
    total: Money
    use_account: bool = True
    adjudicated: Annotated[tuple[AdjudicatedShare, ...], Field(max_length=20)] = ()
    """Layers that the basic system adjudicates by the rules of the region (modes A and B of schemes 1 and 2)."""
    answer_by: Moment | None = None

    @model_validator(mode="after")
    def _bill_is_consistent(self) -> Self:
        if sum(diagnosis.main for diagnosis in self.diagnoses) != 1:
            raise _refuse("diagnoses.main", "diagnoses: mark exactly one as main")
        if len({line.line_no for line in self.fees}) != len(self.fees):
            raise _refuse("fees.line_no", "fees: give each line its own line_no")
        if sum(line.amount for line in self.fees) != self.total:
            raise _refuse("bill.total", "total: must be the sum of the fee lines to the fen")
        if self.total == 0:
            raise _refuse("bill.total", "total: a bill of 0.00 needs no settlement")
        if self.adjudicated and _borne(self.adjudicated) > self.total:
            raise _refuse("bill.adjudicated", "adjudicated: bears more than the whole bill")
        return self


def _borne(shares: tuple[AdjudicatedShare, ...]) -> int:
    own = sum(share.figures.account + share.figures.hospital for share in shares if share.figures is not None)
    return own + sum(share.amount for share in shares)


class SettleRequest(SettlementRequest):
    """`settlement.settle`: adjudicate and book. Keyed by (institution, settlement_no)."""


class AdjudicationUpload(SettlementRequest):
    """`adjudication.upload` (理算结果上传, mode B): a settlement that is done: recorded, passed on, not adjudicated.

    Keyed like a settlement: the same number cannot be settled and uploaded.
    """


class TrialRequest(SettlementRequest):
    """`settlement.trial`: adjudicate without effect; may be repeated with other content."""


class CancelRequest(Value):
    """`settlement.cancel`: undo a settlement that the hospital knows to have happened."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    settlement_no: Identifier
    cancel_no: Identifier
    reason: Text
    operator: Identifier | None = None


class ReverseRequest(Value):
    """`settlement.reverse` (冲正): undo a settlement whose outcome the hospital does not know.

    A settlement that never came is blocked: should it come later, it is refused and nothing is booked.
    """

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    settlement_no: Identifier
    reverse_no: Identifier
    reason: Text
    operator: Identifier | None = None

    @property
    def cancel_no(self) -> str:
        """The hospital's own number of this undo."""
        return self.reverse_no


class CaseQuery(Value):
    """`case.query`: the stored answer of a settlement, by the hospital's own number."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    settlement_no: Identifier
