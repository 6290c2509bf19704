"""The life of a visit before its settlement: admission, fee lines, discharge, and the undo of each.

`admission.register` opens a stay (住院登记) or an outpatient visit; fee lines come in as many uploads as the hospital
likes; a stay ends with its discharge. `request_no` is the sender's own number of one message: said again with the same
content it is answered again, with other content it is a conflict.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Bilingual, Code, Identifier, InstitutionCode, ItemName, Moment, Name, RegionCode, Text, Value
from schemas.codes import MEDICAL_TYPES_BY_VISIT, FeeCategory, ItemLevel, MedicalType, VisitKind
from schemas.money import Price, SignedMoney, SignedQuantity, rounded_fen
from schemas.settlement import DIAGNOSES_MAX, FEE_LINES_MAX, Diagnosis, Insurance, Patient


class VisitState(StrEnum):
    """How far a visit has come. A settlement is a case of its own, linked to its visit."""

    ADMITTED = "admitted"
    DISCHARGED = "discharged"
    CANCELLED = "cancelled"


class DischargeWay(StrEnum):
    """dscg_way: how the patient left."""

    ORDERED = "1"
    TRANSFERRED = "2"
    TO_COMMUNITY = "3"
    AGAINST_ADVICE = "4"
    DIED = "5"
    OTHER = "9"


def _refuse(code: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(code, remedy)


class VisitMessage(Value):
    """What all messages about a visit carry."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    request_no: Identifier
    visit_no: Identifier


class AdmissionFacts(VisitMessage):
    """Who came, when, what for. The moment of admission has a time zone."""

    region: RegionCode
    patient: Patient
    insurance: Insurance
    kind: VisitKind
    medical_type: MedicalType
    admitted_at: Moment
    diagnoses: Annotated[tuple[Diagnosis, ...], Field(max_length=DIAGNOSES_MAX)] = ()
    department: Name | None = None
    doctor_code: Identifier | None = None
    doctor_name: Name | None = None
    bed: Annotated[str, Field(min_length=1, max_length=30)] | None = None
    record_no: Identifier | None = None
    accident: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.medical_type not in MEDICAL_TYPES_BY_VISIT[self.kind]:
            raise _refuse("visit.medical_type", "medical_type: does not belong to this kind of visit")
        if sum(diagnosis.main for diagnosis in self.diagnoses) > 1:
            raise _refuse("diagnoses.main", "diagnoses: mark at most one as main")
        return self


class AdmissionRegister(AdmissionFacts):
    """`admission.register` (住院登记; national 2401, 2201): opens the visit."""


class AdmissionChange(AdmissionFacts):
    """`admission.change` (national 2403): the whole registration again, as it should have been."""


class AdmissionCancel(VisitMessage):
    """`admission.cancel` (住院登记取消; national 2404, 2202): only while no fee line stands, before the discharge."""

    reason: Text


class UploadedLine(Value):
    """One fee line. A refund is a line of its own with a minus before quantity and amount, naming what it refunds."""

    line_no: Identifier
    item_code: Code
    item_name: ItemName
    category: FeeCategory
    level: ItemLevel = ItemLevel.FULL
    price: Price
    quantity: SignedQuantity
    amount: SignedMoney
    occurred_on: date | None = None
    local_code: Code | None = None
    local_name: ItemName | None = None
    refunds: Identifier | None = None

    @model_validator(mode="after")
    def _multiplies_out(self) -> Self:
        if rounded_fen(self.price * self.quantity) != self.amount:
            raise _refuse("fee.amount", "amount: must be price x quantity rounded to the fen; correct one of the three")
        if (self.amount < 0) != (self.refunds is not None):
            raise _refuse("fee.refunds", "refunds: a line with a minus names the line that it refunds, no other does")
        return self


class FeesUpload(VisitMessage):
    """`fees.upload` (住院费用明细上传; national 2301, 2204): a batch of lines, all taken or none."""

    batch_no: Identifier
    lines: Annotated[tuple[UploadedLine, ...], Field(min_length=1, max_length=FEE_LINES_MAX)]

    @model_validator(mode="after")
    def _lines_differ(self) -> Self:
        if len({line.line_no for line in self.lines}) != len(self.lines):
            raise _refuse("lines.line_no", "lines: give each line its own line_no")
        return self


class FeesCancel(VisitMessage):
    """`fees.cancel` (住院费用明细上传取消; national 2302, 2205): lines by number, or a batch, or all that stand."""

    batch_no: Identifier | None = None
    line_nos: Annotated[tuple[Identifier, ...], Field(max_length=FEE_LINES_MAX)] = ()
    reason: Text

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.batch_no is not None and self.line_nos:
            raise _refuse("fees.cancel", "line_nos: name lines or a batch, not both")
        return self


class FeesQuery(Value):
    """`fees.query` (费用信息查询): the lines of a visit as the hub holds them."""

    schema_version: Literal["1"] = "1"
    institution: InstitutionCode
    visit_no: Identifier


class DischargeRegister(VisitMessage):
    """`discharge.register` (出院登记; national 2402): ends the stay; from then on it can be settled."""

    discharged_at: Moment
    way: DischargeWay = DischargeWay.ORDERED
    diagnoses: Annotated[tuple[Diagnosis, ...], Field(min_length=1, max_length=DIAGNOSES_MAX)]
    department: Name | None = None
    bed: Annotated[str, Field(min_length=1, max_length=30)] | None = None
    died_on: date | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(diagnosis.main for diagnosis in self.diagnoses) != 1:
            raise _refuse("diagnoses.main", "diagnoses: mark exactly one as main")
        if (self.died_on is not None) != (self.way is DischargeWay.DIED):
            raise _refuse("discharge.died_on", "died_on: goes with way 5 and with no other")
        return self


class DischargeCancel(VisitMessage):
    """`discharge.cancel` (出院登记取消; national 2405): only while no settlement of the visit stands."""

    reason: Text


class NoticeState(Value):
    """What became of passing the message on to one payer."""

    payer: str
    state: Literal["waiting", "taken", "refused", "given_up"]
    reference: str | None = None
    reason: Bilingual | None = None


class VisitAnswer(Value):
    """The hub's answer to every message about a visit; `visit_id` is the hub's own number of the visit."""

    schema_version: Literal["1"] = "1"
    transaction: str
    institution: str
    visit_no: str
    request_no: str
    visit_id: str
    state: VisitState
    lines: int
    """How many fee lines stand, and what they come to."""
    total: SignedMoney
    settled: bool = False
    """A settlement of this visit stands or is under way."""
    warnings: tuple[Bilingual, ...] = ()
    answered_at: AwareDatetime


class StandingLine(UploadedLine):
    """A fee line as the hub holds it; `settled_by` is the settlement that it is part of."""

    batch_no: str
    settled_by: str | None = None


class FeesAnswer(VisitAnswer):
    """The answer to `fees.query`."""

    fees: tuple[StandingLine, ...]
    notices: tuple[NoticeState, ...] = ()
