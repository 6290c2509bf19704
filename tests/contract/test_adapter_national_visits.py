"""Visits that come by notices before their settlement, towards a national-style region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sandbox.basic_national import Policy
from sandbox.faults import FaultKind
from sandbox.national_visits import Visit as StandingVisit
from schemas.codes import FeeCategory, ItemLevel, Outcome, VisitKind
from schemas.errors import InvalidMessage
from schemas.payer import Decision, Notice, Operation
from schemas.visit import (
    AdmissionCancel,
    AdmissionRegister,
    DischargeCancel,
    DischargeRegister,
    FeesCancel,
    FeesUpload,
    UploadedLine,
    VisitMessage,
)
from tests.support.national_region import INSTITUTION, PARTY, Client, Region, a_bill, a_claim, a_region, numbers
from tests.support.payer_tasks import a_fee

VISIT: dict[str, Any] = {"institution": INSTITUTION, "visit_no": "V-1"}


@pytest.fixture(params=[False, True], ids=["lenient", "picky"])
def region(request: pytest.FixtureRequest) -> Iterator[Region]:
    with a_region(Policy(picky=request.param)) as made:
        yield made


class Ward:
    """A hospital that tells of one visit as it goes on."""

    def __init__(self, region: Region, kind: VisitKind = VisitKind.INPATIENT, **options: str) -> None:
        self.region, self.kind = region, kind
        self.client: Client = region.client(visits="told", **options)
        self.admission: AdmissionRegister | None = None
        self.reference: str | None = None
        self._said = 10

    def tell(self, transaction: str, message: VisitMessage, **changes: Any) -> Decision:
        self._said += 1
        values: dict[str, Any] = {
            "transaction": transaction,
            "request_id": f"N-{self._said}",
            "payer": PARTY,
            "message": message,
            "numbers": numbers(self._said),
            "admission": self.admission,
            "admission_reference": self.reference,
        }
        return self.client.tell(Notice(**values | changes))

    def admit(self) -> Decision:
        bill = a_bill(self.kind)
        message = AdmissionRegister(
            **VISIT,
            request_no="1",
            region=bill.region,
            patient=bill.patient,
            insurance=bill.insurance,
            kind=self.kind,
            medical_type=bill.visit.medical_type,
            admitted_at=bill.visit.started_at,
            diagnoses=bill.diagnoses,
            department="内科",
            doctor_code="D360100000001",
        )
        decision = self.tell("admission.register", message)
        self.admission, self.reference = message, decision.payer_reference
        return decision

    def charge(self, *lines: UploadedLine, batch: str = "B-1") -> Decision:
        return self.tell("fees.upload", FeesUpload(**VISIT, request_no=batch, batch_no=batch, lines=lines))

    def discharge(self) -> Decision:
        message = DischargeRegister(
            **VISIT,
            request_no="D",
            discharged_at=datetime(2026, 3, 9, 1, 15, tzinfo=UTC),
            diagnoses=a_bill().diagnoses,
        )
        return self.tell("discharge.register", message)

    @property
    def visit(self) -> StandingVisit:
        bill = a_bill(self.kind)
        (found,) = self.region.server.visits.of_person(bill.insurance.person_no, bill.visit.medical_type)
        return found


def a_line(number: str, quantity: str = "2", refunds: str | None = None) -> UploadedLine:
    """600.00 yuan, the same as a line of the bill."""
    amount = int(Decimal(quantity) * 300_00)
    return UploadedLine(
        line_no=number,
        item_code="XA10BAA123A001010100000",
        item_name="盐酸二甲双胍片",
        category=FeeCategory.WESTERN_DRUG,
        level=ItemLevel.FULL,
        price=Decimal(300),
        quantity=Decimal(quantity),
        amount=amount,
        refunds=refunds,
    )


def a_settlement(kind: VisitKind = VisitKind.INPATIENT, lines: int = 2):
    fees = tuple(a_fee(number, price="300.00", quantity="2") for number in range(1, lines + 1))
    return a_claim(kind, request=a_bill(kind, fees=fees))


@pytest.mark.parametrize("kind", [VisitKind.OUTPATIENT, VisitKind.INPATIENT])
def test_a_settlement_goes_on_from_what_was_told(region: Region, kind: VisitKind) -> None:
    ward = Ward(region, kind)
    told = [ward.admit(), ward.charge(a_line("L1"), a_line("L2"))]
    if kind is VisitKind.INPATIENT:
        told.append(ward.discharge())

    calls = ward.client.calls(a_settlement(kind))

    assert [one.outcome for one in told] == [Outcome.APPROVED] * len(told)
    assert told[0].payer_reference == ward.visit.mdtrt_id
    assert not {"2204", "2301", "2402", "clear:2205", "clear:2302"} & {call.name for call in calls}
    assert region.net_fen > 0


def test_refunds_are_taken_off(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.charge(a_line("L1"), a_line("L2"), a_line("L3"))
    ward.charge(a_line("L4", "-2", refunds="L3"), batch="B-2")
    ward.discharge()

    decision = ward.client.ask(a_settlement())

    assert decision.basic is not None
    assert (decision.basic.total_fen, decision.amount_fen) == (1_200_00, region.net_fen)


def test_what_stands_and_is_not_the_bill_is_taken_back_first(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.charge(a_line("L1"), a_line("L9"), a_line("L8"))
    ward.discharge()

    decision = ward.client.ask(a_settlement())

    assert (decision.outcome, decision.amount_fen) == (Outcome.APPROVED, region.net_fen)
    assert sorted(ward.visit.lines) == ["L1", "L2"]


def test_a_visit_that_nobody_told_of_is_made_by_its_settlement(region: Region) -> None:
    decision = Ward(region).client.ask(a_settlement())

    assert (decision.outcome, decision.amount_fen) == (Outcome.APPROVED, region.net_fen)


def test_notices_that_are_said_again_change_nothing(region: Region) -> None:
    ward = Ward(region)
    told = [ward.admit(), ward.admit(), ward.charge(a_line("L1")), ward.charge(a_line("L1"))]
    told += [ward.discharge(), ward.discharge()]

    assert [one.outcome for one in told] == [Outcome.APPROVED] * 6
    assert told[0].payer_reference == told[1].payer_reference
    assert list(ward.visit.lines) == ["L1"]


def test_a_visit_is_taken_back_step_by_step(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.charge(a_line("L1"), a_line("L2"), a_line("L3"))
    ward.discharge()

    told = [
        ward.tell("discharge.cancel", DischargeCancel(**VISIT, request_no="DC", reason="误登记")),
        ward.tell("fees.cancel", FeesCancel(**VISIT, request_no="FC", line_nos=("L1", "L3"), reason="误记账")),
    ]
    assert list(ward.visit.lines) == ["L2"]
    told += [
        ward.tell("fees.cancel", FeesCancel(**VISIT, request_no="FC2", reason="误记账")),
        ward.tell("admission.cancel", AdmissionCancel(**VISIT, request_no="AC", reason="误登记")),
    ]

    assert [one.outcome for one in told] == [Outcome.APPROVED] * 4
    bill = a_bill(VisitKind.INPATIENT)
    assert region.server.visits.of_person(bill.insurance.person_no, bill.visit.medical_type) == []
    again = ward.tell("admission.cancel", AdmissionCancel(**VISIT, request_no="AC", reason="误登记"))
    assert again.outcome is Outcome.APPROVED


def test_an_outpatient_batch_is_taken_back(region: Region) -> None:
    ward = Ward(region, VisitKind.OUTPATIENT)
    ward.admit()
    ward.charge(a_line("L1"))
    ward.charge(a_line("L2"), batch="B-2")

    told = ward.tell("fees.cancel", FeesCancel(**VISIT, request_no="FC", batch_no="B-2", reason="误记账"))

    assert told.outcome is Outcome.APPROVED
    assert list(ward.visit.lines) == ["L1"]


def test_a_refused_notice_says_why(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.charge(a_line("L1"))

    told = ward.tell("admission.cancel", AdmissionCancel(**VISIT, request_no="AC", reason="误登记"))

    assert (told.outcome, told.reason_zh) == (Outcome.DECLINED, "存在费用明细, 不能撤销登记")


def test_a_visit_whose_number_was_lost_is_looked_for(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.reference = None

    assert ward.charge(a_line("L1")).outcome is Outcome.APPROVED
    assert list(ward.visit.lines) == ["L1"]


def test_trouble_on_the_way_is_no_word(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    region.suffers(FaultKind.NOT_FOUND_FIRST)
    ward.reference = None

    assert ward.charge(a_line("L1")).outcome is Outcome.UNKNOWN
    assert ward.charge(a_line("L1")).outcome is Outcome.APPROVED


def test_what_the_interface_has_no_word_for_is_refused(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    batch = FeesCancel(**VISIT, request_no="FC", batch_no="B-1", reason="误记账")

    with pytest.raises(InvalidMessage):
        ward.tell("fees.cancel", batch)
    with pytest.raises(InvalidMessage):
        ward.tell(
            "fees.upload", FeesUpload(**VISIT, request_no="B", batch_no="B", lines=(a_line("L1"),)), admission=None
        )


def test_a_trial_looks_at_what_stands_and_leaves_it(region: Region) -> None:
    ward = Ward(region)
    ward.admit()
    ward.charge(a_line("L1"), a_line("L2"))

    trial = replace(a_settlement(), operation=Operation.TRIAL)
    names = [call.name for call in ward.client.calls(trial)]

    assert names[-1] == "2303"
    assert "2301" not in names
    assert sorted(ward.visit.lines) == ["L1", "L2"]
    assert region.net_fen == 0


def test_a_trial_of_what_does_not_stand_takes_its_lines_back_and_keeps_the_visit(region: Region) -> None:
    ward = Ward(region, VisitKind.OUTPATIENT)
    ward.admit()

    trial = replace(a_settlement(VisitKind.OUTPATIENT), operation=Operation.TRIAL)

    assert ward.client.ask(trial).outcome is Outcome.APPROVED
    assert ward.visit.lines == {}
